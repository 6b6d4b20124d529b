"""`keras-facealign train`: a preset's architecture, trained on a labelled data set."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_facealign.data.boxes import read_boxes
from keras_facealign.errors import FaceAlignError

if TYPE_CHECKING:
    from keras_facealign.models import FaceAlignModel
    from keras_facealign.training import Schedule

__all__ = ["DataSet", "train"]


class DataSet(str, Enum):
    """Data sets whose official layout can be read."""

    IBUG_300W = "ibug_300w"
    MERL_RAV = "merl_rav"


def train(
    data: Annotated[Path, typer.Option(help="Folder of the data set in its official layout.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the run; an unfinished one resumes.")
    ],
    preset: Annotated[
        str, typer.Option(help="Preset, by name or folder, whose architecture to train.")
    ] = "sat1_cab_mobile",
    data_set: Annotated[DataSet, typer.Option(help="What the folder holds.")] = DataSet.IBUG_300W,
    split: Annotated[str, typer.Option(help="Split to train on.")] = "train",
    validation: Annotated[
        str, typer.Option(help="Split whose NME each epoch reports; 'none' for no validation.")
    ] = "lfpw_test",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training faces.")] = 60,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Faces a step; each gives two views.")
    ] = 16,
    learning_rate: Annotated[float, typer.Option(help="Peak of the cosine schedule.")] = 1e-3,
    coherent_weight: Annotated[
        float, typer.Option(min=0, help="Weight of the coherent loss (lambda).")
    ] = 0.001,
    foreground_weight: Annotated[
        float, typer.Option(min=0, help="Extra weight of the pixels near a landmark.")
    ] = 9.0,
    landmark_weight: Annotated[
        float, typer.Option(min=0, help="Weight of the decoded position's distance.")
    ] = 0.01,
    boxes: Annotated[
        Path | None,
        typer.Option(
            help="CSV file of boxes to crop the training faces by, instead of the labels' own: "
            "columns image (path below the data folder), x0, y0, x1, y1 in pixels."
        ),
    ] = None,
    jitter: Annotated[
        bool, typer.Option("--jitter/--no-jitter", help="Shift and scale boxes as detectors do.")
    ] = True,
    fine_tune: Annotated[
        bool, typer.Option("--fine-tune", help="Start from the preset's trained weights.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Decides initial weights, order, augmentation.")] = 0,
    jit: Annotated[
        bool | None,
        typer.Option("--jit/--no-jit", help="XLA compilation; by default as Keras sees fit."),
    ] = None,
) -> None:
    """Train a network on pairs of augmented views with the coherent loss.

    The output folder gets log.csv, tensorboard/ (where that package is installed) and, at the end,
    preset/, which every other command takes in place of a preset's name. A run that was stopped
    goes on after its last whole epoch when the same command is given again.

    KERAS_BACKEND=jax or torch trains on those.
    """
    from keras_facealign.training import Schedule

    schedule = Schedule(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        jitter=jitter,
        seed=seed,
        compile={
            "coherent_weight": coherent_weight,
            "foreground_weight": foreground_weight,
            "landmark_weight": landmark_weight,
            "jit_compile": "auto" if jit is None else jit,
            "augmentation": {"color": 0.3, "erase": 0.5},
        },
    )
    skipped: list[str] = []
    faces = _open(data_set, data, split, skipped)
    held_out = None if validation == "none" else _open(data_set, data, validation, skipped)
    given = None if boxes is None else read_boxes(boxes)
    _run(schedule, preset, fine_tune, faces, held_out, given, output, f"{data_set.value} {split}")
    for line in skipped:
        typer.echo(f"skipped: {line}", err=True)


def _open(data_set: DataSet, root: Path, split: str, skipped: list[str]) -> Iterator[Any]:
    """Starts reading a split; an unknown split or a folder without data fails at once."""
    from keras_facealign.data import ibug_300w, merl_rav

    def note(error: FaceAlignError) -> None:
        skipped.append(str(error))

    reader = ibug_300w if data_set is DataSet.IBUG_300W else merl_rav
    return reader.load_samples(root, split, on_skip=note)


def _run(
    schedule: Schedule,
    preset: str,
    fine_tune: bool,
    faces: Iterator[Any],
    held_out: Iterator[Any] | None,
    boxes: dict[str, list[list[float]]] | None,
    output: Path,
    trained_on: str,
) -> None:
    import keras
    from rich.console import Console

    from keras_facealign.presets import from_preset
    from keras_facealign.training import fit

    keras.utils.set_random_seed(schedule.seed)
    model: FaceAlignModel = from_preset(preset, load_weights=fine_tune)
    metadata = {
        "description": f"Architecture of {preset}, trained on {trained_on}.",
        "landmarks": f"{model.num_landmarks} ({model.scheme.name})",
        "license": "that of the data set it was trained on",
        "trained_on": trained_on,
    }
    result = fit(model, faces, held_out, output, schedule, metadata, boxes=boxes)
    console = Console()
    score = f", validation NME {result['val_nme']:.3f} %" if "val_nme" in result else ""
    console.print(
        f"Trained {schedule.epochs} epochs in {result['seconds'] / 60:.1f} minutes{score}; the "
        f"preset is in {output / 'preset'}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
