"""`keras-facealign train`: trains the architecture of a preset on labeled data sets."""

from __future__ import annotations

import math
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from keras_facealign.cli import _common as common
from keras_facealign.cli import _distribution as distribution
from keras_facealign.cli.quiet import import_keras
from keras_facealign.data.boxes import read_boxes
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import (
    IBUG68,
    LandmarkScheme,
    numbered_scheme,
    scheme_of_size,
)

RecipeName = Literal["paper", "dfa", "insightface", "insightface_2018", "old"]
"""Keys of `TRAINING_RECIPES`; "old" is the name of insightface_2018 in version 0.1."""

PrecisionName = Literal["auto", "float32", "mixed_bfloat16"]

OptimizerName = Literal["adamw", "nadam", "shared_nadam"]

Weight = Annotated[float | None, typer.Option(min=0)]


@distribution.on_devices
def train(
    data: list[Path],
    output: common.OutputFolder,
    preset: str = common.DEFAULT_PRESET,
    data_set: list[str] | None = None,
    split: list[str] | None = None,
    validation: str = "lfpw_test",
    epochs: common.Count = 60,
    batch_size: common.BatchSize = 16,
    recipe: RecipeName | None = None,
    optimizer: OptimizerName | None = None,
    learning_rate: float | None = None,
    coherent_weight: Weight = None,
    foreground_weight: Weight = None,
    landmark_weight: Weight = None,
    rotation: Annotated[float | None, typer.Option(min=0, max=180)] = None,
    boxes: common.CropBoxes = None,
    jitter: bool = True,
    fine_tune: Annotated[bool, typer.Option("--fine-tune")] = False,
    ema_momentum: float = 0.0,
    seed: int = 0,
    precision: PrecisionName = "float32",
    jit: Annotated[bool | None, typer.Option("--jit/--no-jit")] = None,
    restart: Annotated[bool, typer.Option("--restart")] = False,
    distribute: distribution.Distribute = "none",
    devices: distribution.Devices = None,
    coordinator: distribution.Coordinator = None,
    num_processes: distribution.NumProcesses = 1,
    process_id: distribution.ProcessId = 0,
) -> None:
    """Train a network on pairs of augmented views with the coherent loss.

    The output folder gets log.csv, tensorboard/ (if that package is installed) and, at the end,
    preset/, which every other command accepts instead of a preset's name. Run the same command
    again to resume an interrupted run after its last complete epoch; a finished run is not
    repeated.

    Set KERAS_BACKEND=jax or torch to train on these backends.

    Args:
        data: Folder of the data set in its official layout, or of pictures of your own with a .pts
            file of the same name beside each, with any number of landmarks. Repeat it to train on
            several, with as many --data-set and, if they differ, --split in the same order.
        output: Folder of the run; an unfinished one is resumed.
        preset: Preset, by name or folder, whose architecture to train.
        data_set: Name of the data set: ibug_300w, merl_rav, turned_faces (the output of
            synthesize-poses), face_synthetics/ibug68, w300_lp or another with landmarks; default:
            pts_folder for pictures of your own, else ibug_300w.
        split: Split to train on; default: train. Of your own pictures, a subfolder.
        validation: Split of the first data set to validate on after each epoch; 'none' for no
            validation.
        epochs: Passes over the training faces.
        batch_size: Number of faces per step, on all devices together; each gives two views.
        recipe: Losses, pairs, augmentation, optimizer and learning rate of the paper or of an
            original code; the options below replace single parts. Default: the paper's losses with
            this command's own settings.
        optimizer: AdamW with a cosine schedule, Keras's Nadam, or MXNet's with one momentum
            schedule for all weights; default: the recipe's, or adamw.
        learning_rate: Highest learning rate; default: the recipe's, or 0.001.
        coherent_weight: Weight of the coherent loss (lambda); default: the recipe's, or 0.001.
        foreground_weight: Extra weight of the pixels near a landmark; default: 0 in recipes, or 9.
        landmark_weight: Weight of the distance of the decoded position; default: 0 in recipes, or
            0.01.
        rotation: Largest in-plane rotation of the training views in degrees either way; 180 for
            faces at any angle. Default: the recipe's, or 40.
        jitter: Shift and scale boxes at random as detectors do.
        fine_tune: Start from the preset's trained weights.
        ema_momentum: Momentum of a moving average of the weights, such as 0.999, which is validated
            and kept if it is better; 0: no average.
        seed: Seed of initial weights, order and augmentation.
        precision: Dtype policy of the layers; weights and losses stay in float32. auto: the policy
            that a short measurement finds faster on this machine.
        jit: XLA compilation; default: Keras decides.
        restart: Remove an earlier run in the output folder, finished or not, and train from the
            beginning; its preset stays until the new one is complete.
    """
    import_keras()
    from keras_facealign.data.catalog import guess
    from keras_facealign.training import TrainingConfig, fit

    defaults = _defaults(recipe)
    weights = {
        "coherent_weight": coherent_weight,
        "foreground_weight": foreground_weight,
        "landmark_weight": landmark_weight,
    }
    given = {name: value for name, value in weights.items() if value is not None}
    compiled = {**defaults["compile"], **given, "jit_compile": "auto" if jit is None else jit}
    if rotation is not None:
        base = {"base": {"rotation": rotation}}
        compiled["augmentation"] = {**compiled.get("augmentation", {}), **base}
    config = TrainingConfig(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=defaults["learning_rate"] if learning_rate is None else learning_rate,
        jitter=jitter,
        seed=seed,
        compile=compiled,
        optimizer=optimizer or defaults["optimizer"],
        ema_momentum=ema_momentum,
    )
    skipped: list[str] = []
    names = data_set or [guess(folder) for folder in data]
    sources = _sources(data, names, split or ["train"])
    if boxes is not None and len(sources) > 1:
        raise FaceAlignError("--boxes names images of one data set; give a single --data")
    faces = chain.from_iterable([common.load_faces(*source, skipped) for source in sources])
    first = next(faces)
    faces = chain([first], faces)
    held_out = None
    if validation != "none":
        held_out = common.load_faces(*sources[0][:2], validation, skipped)
    crops = None if boxes is None else read_boxes(boxes)
    scheme = _scheme(len(first.landmarks), "pts_folder" in names)
    if not scheme.has_flip_pairs:
        common.say(f"Training {scheme.num_landmarks} landmarks, without mirrored views")
        _forbid_flips(compiled)
    model = _build_model(preset, scheme, fine_tune, seed, precision)
    trained_on = ", ".join(f"{name} {part}" for name, _, part in sources)
    metadata = {
        "description": f"Architecture of {preset}, trained on {trained_on}.",
        "landmarks": f"{model.num_landmarks} ({model.scheme.name})",
        "license": "that of the data set it was trained on",
        "trained_on": trained_on,
    }
    result = fit(model, faces, held_out, output, config, metadata, boxes=crops, restart=restart)
    _say_result(result, output, epochs, held_out is not None)
    common.list_skipped(skipped)


def _say_result(result: dict[str, Any], output: Path, epochs: int, validated: bool) -> None:
    """Prints what the run has come to."""
    preset = output / "preset"
    nme = result.get("val_nme", math.nan)
    score = f", validation NME {nme:.3f} %" if validated else ""
    if validated and not math.isfinite(nme):
        score = ", validation NME not measured: no face has both outer corners of the eyes"
    if "already_finished" in result:
        common.say(
            f"{output} is finished: {epochs} epochs{score}. --restart trains from the beginning; "
            f"for more epochs, give --preset {preset} --fine-tune and another --output"
        )
    else:
        common.say(
            f"Trained {epochs} epochs in {result['seconds'] / 60:.1f} minutes{score}; the preset "
            f"is in {preset}"
        )


def _scheme(num_landmarks: int, own: bool) -> LandmarkScheme:
    """The scheme of the faces; that of a user's own landmarks is unknown unless there are 68."""
    known = scheme_of_size(num_landmarks)
    if known is None or (own and known is not IBUG68):
        return numbered_scheme(num_landmarks)
    return known


def _forbid_flips(settings: dict[str, Any]) -> None:
    """Leaves mirrored views out of settings of `compile`."""
    given = settings.get("augmentation", {})
    none = {part: {**given.get(part, {}), "flip": 0.0} for part in ("base", "pair")}
    settings["augmentation"] = {**given, **none}


def _build_model(
    preset: str, scheme: LandmarkScheme, fine_tune: bool, seed: int, precision: PrecisionName
) -> Any:
    """Builds the network in the chosen precision, for the landmarks of a scheme."""
    import keras

    from keras_facealign.presets import from_preset, preset_architecture
    from keras_facealign.training.precision import choose_precision

    architecture = preset_architecture(preset)
    policy = choose_precision(precision, architecture.map_size, architecture.filters)
    if precision == "auto":
        common.say(f"Training in {policy}")
    keras.utils.set_random_seed(seed)
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_global_policy(policy)
    try:
        model = from_preset(preset, load_weights=fine_tune)
        if model.num_landmarks == scheme.num_landmarks:
            return model
        if fine_tune:
            raise FaceAlignError(
                f"Preset {preset} finds {model.num_landmarks} landmarks, and the labels have "
                f"{scheme.num_landmarks}; leave out --fine-tune, or give another preset"
            )
        config = model.get_config()
        config["architecture"]["num_landmarks"] = scheme.num_landmarks
        return type(model).from_config(config | {"scheme": scheme.name})
    finally:
        keras.mixed_precision.set_global_policy(before)


def _defaults(recipe: str | None) -> dict[str, Any]:
    """Returns the settings of a recipe, or those of this command."""
    from keras_facealign.objective.recipes import RENAMED_RECIPES
    from keras_facealign.training.optimizers import RECIPE_OPTIMIZERS

    if recipe is not None:
        chosen = RECIPE_OPTIMIZERS[RENAMED_RECIPES.get(recipe, recipe)]
        return {
            "optimizer": "shared_nadam" if chosen.shared_schedule else "nadam",
            "learning_rate": chosen.learning_rate,
            "compile": {"recipe": recipe},
        }
    # Short runs of small networks need larger weights near the landmarks; see examples/train_2d.py.
    losses = {"coherent_weight": 0.001, "foreground_weight": 9.0, "landmark_weight": 0.01}
    augmentation = {"color": 0.3, "erase": 0.5}
    compiled = {**losses, "augmentation": augmentation}
    return {"optimizer": "adamw", "learning_rate": 1e-3, "compile": compiled}


def _sources(
    data: list[Path], data_sets: list[str], splits: list[str]
) -> list[tuple[str, Path, str]]:
    """Combines the options to data sets; a single name or split is used for all folders."""
    for option, values in (("--data-set", data_sets), ("--split", splits)):
        if len(values) not in (1, len(data)):
            raise FaceAlignError(
                f"{option} is given {len(values)} times for {len(data)} --data; give one for each"
            )
    names, parts = (
        values * (len(data) if len(values) == 1 else 1) for values in (data_sets, splits)
    )
    return list(zip(names, data, parts, strict=True))
