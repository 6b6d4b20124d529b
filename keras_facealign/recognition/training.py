"""Trains a MobileFaceNet on folders of persons, with an angular margin."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_facealign.data.epochs import EpochBatches
from keras_facealign.data.files import find_photos
from keras_facealign.data.images import read_image
from keras_facealign.errors import FaceAlignError, check_integer
from keras_facealign.layers import ArcFace, CosFace
from keras_facealign.models import MobileFaceNet
from keras_facealign.models.finite import check_finite_state
from keras_facealign.storage.atomic import atomic_path
from keras_facealign.training.backup import Backup
from keras_facealign.training.configuration import TrainingConfig, make_optimizer
from keras_facealign.training.divergence import TerminateOnNonFinite
from keras_facealign.training.run import tensorboard
from keras_facealign.training.run_folder import RunFolder
from keras_facealign.training.seeds import set_random_seed

MARGIN_LAYERS = {"arcface": ArcFace, "cosface": CosFace}

NETWORK_FILE = "embedding.keras"
"""Name of the trained network in the folder of its run."""

_LEAST_PICTURES = 2


def list_persons(
    folder: str | os.PathLike[str],
) -> tuple[list[Path], np.ndarray, list[str], list[str]]:
    """Lists the pictures of a folder that has a subfolder for each person.

    Args:
        folder: The folder, such as the output of `keras-facealign normalize --recursive`.

    Returns:
        The pictures; for each the number of its person, int32 (N,); the persons' names; and the
        names of those that are left out, as they have less than two pictures.

    Raises:
        FaceAlignError: If there is no such folder, or it has less than two persons.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FaceAlignError(f"{root}: there is no such folder; give one with a folder a person")
    paths: list[Path] = []
    labels, names, left_out = [], [], []
    for person in sorted(path for path in root.iterdir() if path.is_dir()):
        found, _ = find_photos(person, recursive=True)
        if len(found) < _LEAST_PICTURES:
            left_out.append(person.name)
            continue
        paths += found
        labels += [len(names)] * len(found)
        names.append(person.name)
    if len(names) < 2:
        raise FaceAlignError(
            f"{root}: {len(names)} persons with at least {_LEAST_PICTURES} pictures each; two "
            "persons are needed, each in a folder of its own"
        )
    return paths, np.array(labels, np.int32), names, left_out


class CropBatches(EpochBatches):
    """Batches of normalized crops, half of them mirrored.

    Args:
        paths: The crops, square images of one size.
        labels: int (N,), the numbers of their persons.
        input_size: Side of the crops in pixels.
        batch_size: Crops in a batch.
        seed: Of order and mirroring.

    Raises:
        FaceAlignError: While iterating, if a crop cannot be read or has another size.
    """

    def __init__(
        self,
        paths: list[Path],
        labels: np.ndarray,
        input_size: int = 112,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, shuffle=True, seed=seed)
        self.paths, self.labels, self.input_size = paths, labels, input_size
        self._set_count(len(paths))

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        chosen = self._chosen(index)
        images = np.stack([self._read(self.paths[k]) for k in chosen])
        mirrored = np.random.default_rng([self.seed, self.epoch, index]).random(len(chosen)) < 0.5
        images[mirrored] = images[mirrored, :, ::-1]
        labels = self.labels[chosen]
        return {"image": images.astype(np.float32), "label": labels}, labels

    def _read(self, path: Path) -> np.ndarray:
        image = read_image(path)
        if image.shape[:2] != (self.input_size, self.input_size):
            raise FaceAlignError(
                f"{path}: is {image.shape[1]}x{image.shape[0]} pixels, and the network takes "
                f"{self.input_size}x{self.input_size}; make crops with keras-facealign normalize"
            )
        return image


def train_recognition(
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    config: TrainingConfig,
    *,
    loss: str = "arcface",
    scale: float = 64.0,
    margin: float = 0.5,
    embedding_size: int = 128,
    input_size: int = 112,
    width: float = 1.0,
    verbose: int | str = "auto",
    callbacks: Iterable[keras.callbacks.Callback] = (),
    restart: bool = False,
) -> dict[str, Any]:
    """Trains a MobileFaceNet, and writes it as `embedding.keras`, for `Embedder.from_file`.

    The output folder also gets `log.csv`, `tensorboard/`, `training.json`, and `backup/` while the
    run lasts. Called again with the same arguments, a run that was ended continues after its last
    complete epoch, and a finished one is not repeated.

    Args:
        folder: Crops, in a folder for each person, see `list_persons`.
        output: Folder of the run.
        config: How to train: epochs, batch size, learning rate, optimizer, seed; of `compile`,
            `jit_compile`.
        loss: "arcface" or "cosface".
        scale: As of `keras_facealign.layers.ArcFace`.
        margin: As of the layer.
        embedding_size: As of `keras_facealign.models.MobileFaceNet`, as are the next two.
        input_size: Side of the crops in pixels.
        width: Factor of the numbers of channels.
        verbose: As in Keras.
        callbacks: Further Keras callbacks.
        restart: Whether to remove an earlier run in `output`, and to train from the beginning.

    Returns:
        The last epoch's metrics, with "seconds", "persons", "pictures" and "left_out", the persons
        with less than two pictures; and "already_finished", True, where nothing was left to train.

    Raises:
        FaceAlignError: If the folders are not usable, `output` holds a run with other settings, a
            crop cannot be used, or loss or weights are no longer finite.
    """
    if loss not in MARGIN_LAYERS:
        raise FaceAlignError(f"Unknown loss {loss!r}; choose one of: {', '.join(MARGIN_LAYERS)}.")
    paths, labels, names, left_out = list_persons(folder)
    check_integer("batch_size", config.batch_size, 2)
    result = {"persons": len(names), "pictures": len(paths), "left_out": left_out}
    run = RunFolder(Path(output))
    keys = ("embedding_size", "input_size", "width", "loss", "scale", "margin")
    values = (embedding_size, input_size, width, loss, scale, margin)
    settings = {
        "architecture": dict(zip(keys, values, strict=True)),
        "config": asdict(config),
        "faces": len(paths),
    }
    if restart:
        run.clear()
    if run.finished(settings):
        return {**run.last_row(), **result, "seconds": 0.0, "already_finished": True}
    batches = CropBatches(paths, labels, input_size, config.batch_size, config.seed)
    batches[0]  # a wrong size is reported before a network is built
    run.claim(settings)
    set_random_seed(config.seed)
    network = MobileFaceNet(embedding_size, input_size, width, name="embedding")
    model = _training_model(network, MARGIN_LAYERS[loss](len(names), scale, margin))
    model.compile(
        make_optimizer(config, config.epochs * len(batches)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=config.compile.get("jit_compile", "auto"),
    )
    model.optimizer.build(model.trainable_variables)
    backup = Backup(run.backup)
    first_epoch = backup.restore(model)
    run.keep_rows(first_epoch)
    batches.start_at(first_epoch)
    started = time.monotonic()
    model.fit(
        batches,
        epochs=config.epochs,
        initial_epoch=first_epoch,
        shuffle=False,
        verbose=verbose,
        callbacks=[
            TerminateOnNonFinite(),
            keras.callbacks.CSVLogger(str(run.log), append=first_epoch > 0),
            *tensorboard(run.tensorboard),
            backup,
            *callbacks,
        ],
    )
    check_finite_state(network)
    with atomic_path(run.path / NETWORK_FILE) as temporary:
        network.save(temporary)
    run.claim(settings, finished=True)
    backup.remove()
    return {**run.last_row(), **result, "seconds": time.monotonic() - started}


def _training_model(network: keras.Model, head: keras.layers.Layer) -> keras.Model:
    side = network.input_shape[1]
    image = keras.Input((side, side, 3), name="image")
    label = keras.Input((), dtype="int32", name="label")
    pixels = keras.layers.Rescaling(1 / 128, -127.5 / 128, name="pixels")(image)
    return keras.Model({"image": image, "label": label}, head([network(pixels), label]))
