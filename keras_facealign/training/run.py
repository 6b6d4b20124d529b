"""Training runs that write a preset and logs, and that can be resumed after a kill."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras

from keras_facealign._deprecated import renamed_arguments
from keras_facealign.data.batches import BoxJitter, FaceBatches
from keras_facealign.data.epochs import EpochBatches
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import scheme_config
from keras_facealign.models import FaceAlignModel
from keras_facealign.models.devices import device_count, model_scope, process_place
from keras_facealign.presets import from_preset, save_to_preset
from keras_facealign.training.backup import Backup
from keras_facealign.training.best_weights import BestWeights
from keras_facealign.training.configuration import TrainingConfig, make_optimizer
from keras_facealign.training.divergence import TerminateOnNonFinite
from keras_facealign.training.ema import EMAWeights, keep_better
from keras_facealign.training.landmark_offset import measure_offset_of_batches
from keras_facealign.training.processes import one_writer, own_devices, share_bytes
from keras_facealign.training.run_folder import RunFolder


@renamed_arguments(schedule="config")
@one_writer
def fit(
    model: FaceAlignModel,
    train: Iterable[Any],
    validation: Iterable[Any] | None,
    output: str | Path,
    config: TrainingConfig,
    metadata: dict[str, Any] | None = None,
    verbose: int | str = "auto",
    callbacks: Iterable[keras.callbacks.Callback] = (),
    boxes: Mapping[str, Any] | None = None,
    restart: bool = False,
) -> dict[str, Any]:
    """Trains a model and writes it as a preset.

    The output folder gets `log.csv`, `tensorboard/`, `training.json` (the configuration), `backup/`
    while the run lasts, and `preset/` at its end. Called again with the same arguments, a killed
    run continues after its last complete epoch, and ends with the weights of a run that was not
    killed, up to the rounding of parallel sums. A finished run is not repeated: the model gets the
    preset's weights.

    A run that diverges is ended. Its backup, and an earlier preset, stay as they are.

    Several devices, and processes that all call this with the same arguments, train one model with
    the steps of one device, see `docs/guides/many_devices.md`. Only the first process writes to
    `output`, from which the others get what they need.

    With `TrainingConfig.patience`, a run ends early that gets no better, and the preset gets the
    best epoch's weights. The weights that the run starts from count as epoch 0, so that the preset
    is no worse than they are on the faces to validate on.

    With `TrainingConfig.ema_momentum`, each epoch validates the averaged weights. At the end the
    last step's weights are validated as well, and the preset gets the better of the two; without
    validation, the averaged ones.

    Args:
        model: The model to train, from its current weights. Its `landmark_offset` is reset, and
            measured at the end with `TrainingConfig.landmark_offset`.
        train: Training examples, see `FaceBatches`; or batches, such as `FaceBatches`,
            `LazyFaceBatches` or `PackedFaces`, which have their own batch size, order, jitter and
            boxes.
        validation: Examples or batches whose NME each epoch reports; or None.
        output: Folder of the run.
        config: How to train.
        metadata: Entries of the preset's `metadata.json`.
        verbose: As in Keras.
        callbacks: Further Keras callbacks.
        boxes: Boxes to crop the training faces by, see `FaceBatches`.
        restart: Whether to remove an earlier run in `output`, finished or not, and to train from
            the beginning. Its preset stays until the new one replaces it.

    Returns:
        The last epoch's metrics, with patience the best one's, with "seconds"; and
        "already_finished", True, where nothing was left to train. The NME is NaN where no face
        could be measured.

    Raises:
        FaceAlignError: If `output` cannot be a folder, holds a run with another configuration,
            architecture or number of faces, or has a folder `preset` with other files; if packed
            faces are of another size than the network's input; or if loss or weights are no longer
            finite.

    Example:
        >>> from keras_facealign.data.readers.ibug_300w import load_samples
        >>> faces = load_samples("300w", "train")  # doctest: +SKIP
        >>> held_out = load_samples("300w", "lfpw_test")  # doctest: +SKIP
        >>> fit(model, faces, held_out, "run", TrainingConfig(epochs=20))  # doctest: +SKIP
    """
    folder = RunFolder(output)
    settings = _settings(model, config)
    if not restart and folder.finished(settings):
        result = folder.result()
        finished = from_preset(folder.preset)
        model.set_weights(finished.get_weights())
        model.landmark_offset = finished.landmark_offset
        return {**result, "seconds": 0.0, "already_finished": True}
    batches = _training_batches(train, model, config, boxes)
    held_out: Any = validation
    if validation is not None and not isinstance(validation, keras.utils.PyDataset):
        held_out = FaceBatches(
            validation, config.batch_size, model.input_size, shard=process_place()
        )
    _check_input_size(held_out, model, "validation faces")
    if restart:  # not before all data have been read
        folder.clear()
    settings["faces"] = batches.num_faces
    folder.claim(settings)
    _compile(model, config, len(batches))
    average = EMAWeights(config.ema_momentum) if config.ema_momentum else None
    best = _best_weights(folder, config, held_out)
    backup = Backup(folder.backup, average)
    first_epoch = backup.restore(model)
    folder.keep_rows(first_epoch)
    if best is not None:
        best.restore(first_epoch)
        if not first_epoch:
            best.start(model, held_out)
    started = time.monotonic()
    model.fit(
        batches,
        validation_data=held_out,
        epochs=config.epochs,
        initial_epoch=first_epoch,
        verbose=verbose if process_place()[0] == 0 else 0,
        callbacks=[
            TerminateOnNonFinite(),
            keras.callbacks.CSVLogger(str(folder.log), append=first_epoch > 0),
            *tensorboard(folder.tensorboard),
            *(callback for callback in (average, best) if callback is not None),
            backup,
            *callbacks,
        ],
    )
    seconds = time.monotonic() - started
    last = folder.last_row()
    metadata = dict(metadata or {})
    if average is not None:
        metadata["average"] = _keep_better(model, average, held_out, last)
    if best is not None and best.epoch is not None:
        best.apply(model)
        last = folder.row(best.epoch) if best.epoch else best.metrics
        metadata["best_epoch"] = best.epoch
    if config.landmark_offset:
        model.landmark_offset = _measure_offset(model, batches)
    save_to_preset(model, folder.preset, {**metadata, "last_epoch": _measured(last)})
    folder.claim(settings, finished=True)
    backup.remove()
    return {**last, "seconds": seconds}


def _settings(model: FaceAlignModel, config: TrainingConfig) -> dict[str, Any]:
    """What a run is told apart by; the same as in earlier versions where nothing new is used."""
    fields = asdict(config)
    for name in ("patience", "landmark_offset"):
        if not fields[name]:
            del fields[name]
    settings: dict[str, Any] = {"architecture": model.architecture.to_dict(), "config": fields}
    carried = scheme_config(model.scheme)
    if isinstance(carried, dict):
        settings["scheme"] = carried
    return settings


def _best_weights(folder: RunFolder, config: TrainingConfig, held_out: Any) -> BestWeights | None:
    """Makes the callback of early stopping, if there is something to validate on."""
    if not config.patience or held_out is None:
        return None
    return BestWeights(folder.backup, config.patience)


def _compile(model: FaceAlignModel, config: TrainingConfig, steps: int) -> None:
    """Prepares a model for a run with a number of steps in each epoch."""
    settings = {"jit_compile": "auto", **config.compile}
    settings["augmentation"] = {"seed": config.seed, **settings.get("augmentation", {})}
    with model_scope(model):
        model.compile(make_optimizer(config, config.epochs * steps), **settings)
        # The optimizer's variables must exist before a backup is restored.
        model.optimizer.build(model.trainable_variables)
    # It was measured for other weights, and perhaps for other labels.
    model.landmark_offset = (0.0, 0.0)


def _measure_offset(model: FaceAlignModel, batches: EpochBatches) -> tuple[float, float]:
    """Measures the offset of labels; of processes that train together, the first decides."""
    with own_devices():
        one = model
        if keras.backend.backend() == "jax" and device_count(model) > 1:
            # Weights that several processes share cannot be run by one.
            one = type(model).from_config(model.get_config())
            one.set_weights(model.get_weights())
        dx, dy = measure_offset_of_batches(one, batches)
    dx, dy = json.loads(share_bytes(json.dumps([dx, dy]).encode()))
    return dx, dy


def _measured(metrics: dict[str, float]) -> dict[str, float]:
    """Leaves out what could not be measured; NaN does not fit JSON."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _training_batches(
    train: Any, model: FaceAlignModel, config: TrainingConfig, boxes: Mapping[str, Any] | None
) -> Any:
    if not isinstance(train, keras.utils.PyDataset):
        jitter = BoxJitter() if config.jitter else None
        return FaceBatches(
            train, config.batch_size, model.input_size, True, jitter, config.seed, boxes,
            shard=process_place(),
        )  # fmt: skip
    if not isinstance(train, EpochBatches):
        raise FaceAlignError(
            f"train is a {type(train).__name__}; give examples, or FaceBatches, LazyFaceBatches or "
            "PackedFaces."
        )
    _check_input_size(train, model, "faces")
    return train


def _check_input_size(batches: Any, model: FaceAlignModel, name: str) -> None:
    size = getattr(batches, "input_size", model.input_size)
    if size != model.input_size:
        raise FaceAlignError(
            f"The {name} are packed for an input of {size} pixels, but the network takes "
            f"{model.input_size}; pack them again for this size."
        )


def _keep_better(
    model: FaceAlignModel, average: EMAWeights, held_out: Any, last: dict[str, float]
) -> dict[str, Any]:
    """Leaves the model with the better weights; returns the note for the preset's metadata.

    `last` is the log's last row, whose validation is the average's; it is changed to that of the
    weights that are kept.
    """
    validated = {
        name.removeprefix("val_"): value for name, value in last.items() if name.startswith("val_")
    }
    kept, scores = keep_better(model, average.apply, average.restore, held_out, validated)
    note: dict[str, Any] = {"decay": average.momentum, "kept": kept}
    if scores:
        note["nme"] = _measured({name: logs["nme"] for name, logs in scores.items()})
        last.update({f"val_{name}": value for name, value in scores[kept].items()})
    return note


def tensorboard(folder: Path) -> list[keras.callbacks.Callback]:
    """Makes a TensorBoard callback where its package is installed and the backend supports it."""
    if keras.backend.backend() != "tensorflow":
        return []
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        return []
    return [keras.callbacks.TensorBoard(str(folder), write_graph=False)]
