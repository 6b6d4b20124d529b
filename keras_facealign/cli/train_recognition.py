"""`keras-facealign train-recognition`: trains a face recognition network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from keras_facealign.cli import _common as common
from keras_facealign.cli.quiet import import_keras


def train_recognition(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER")],
    output: common.OutputFolder,
    epochs: common.Count = 20,
    batch_size: common.BatchSize = 64,
    learning_rate: float = 1e-3,
    loss: Literal["arcface", "cosface"] = "arcface",
    scale: float = 64.0,
    margin: float | None = None,
    embedding_size: Annotated[int, typer.Option(min=8, max=4096)] = 128,
    size: Annotated[int, typer.Option(min=32, max=1024)] = 112,
    width: float = 1.0,
    seed: common.Seed = 0,
    restart: Annotated[bool, typer.Option("--restart")] = False,
) -> None:
    """Train a MobileFaceNet with an angular margin on crops of persons.

    The output folder gets embedding.keras, which the commands embed and verify take, log.csv and
    tensorboard/ (if that package is installed). Run the same command again to resume an interrupted
    run after its last complete epoch; a finished run is not repeated. Persons with one picture are
    left out, and counted.

    Set KERAS_BACKEND=jax or torch to train on these backends.

    Args:
        folder: Folder with a subfolder of normalized crops for each person, such as the output of
            normalize --recursive.
        output: Folder of the run; an unfinished one is resumed.
        epochs: Passes over the crops.
        batch_size: Number of crops per step.
        learning_rate: Highest learning rate of AdamW, which follows a cosine.
        loss: Margin on the angle (arcface) or on its cosine (cosface).
        scale: Factor of the cosines.
        margin: The margin; default: 0.5 for arcface, 0.35 for cosface.
        embedding_size: Length of the embeddings.
        size: Side of the crops in pixels, a multiple of 16.
        width: Factor of the network's numbers of channels.
        seed: Seed of initial weights, order and mirroring.
        restart: Remove an earlier run in the output folder, and train from the beginning.
    """
    import_keras()
    from keras_facealign.recognition.training import NETWORK_FILE, train_recognition
    from keras_facealign.training import TrainingConfig

    margin = {"arcface": 0.5, "cosface": 0.35}[loss] if margin is None else margin
    config = TrainingConfig(
        epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed
    )
    result = train_recognition(
        folder,
        output,
        config,
        loss=loss,
        scale=scale,
        margin=margin,
        embedding_size=embedding_size,
        input_size=size,
        width=width,
        restart=restart,
    )
    if result["left_out"]:
        names = ", ".join(result["left_out"][:3])
        common.say(
            f"{len(result['left_out'])} persons left out, with less than two pictures: {names}",
            err=True,
        )
    done = "was finished" if "already_finished" in result else f"took {result['seconds']:.0f} s"
    common.say(
        f"Trained on {result['pictures']} pictures of {result['persons']} persons ({done}): loss "
        f"{result.get('loss', float('nan')):.3f}, accuracy with the margin "
        f"{100 * result.get('accuracy', float('nan')):.1f} %; the network is in "
        f"{output / NETWORK_FILE}"
    )
