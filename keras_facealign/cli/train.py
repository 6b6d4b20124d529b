"""`keras-facealign train`: trains the architecture of a preset on labeled data sets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from keras_facealign.cli import _common as common
from keras_facealign.cli import _distribution as distribution
from keras_facealign.cli.quiet import import_keras
from keras_facealign.cli.training_faces import TrainingFaces, batches_of, open_faces, transferred
from keras_facealign.data.boxes import read_boxes
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import LandmarkScheme

RecipeName = Literal["paper", "dfa", "insightface", "insightface_2018", "old"]
"""Keys of `TRAINING_RECIPES`; "old" is the name of insightface_2018 in version 0.1."""

PrecisionName = Literal["auto", "float32", "mixed_bfloat16"]

OptimizerName = Literal["adamw", "nadam", "shared_nadam"]

Weight = Annotated[float | None, typer.Option(min=0)]

# The recipe of --from: short, with lower rates than from nothing.
_TRANSFER_RATE, _TRANSFER_WARMUP = 5e-4, 20
_TRANSFER_EPOCHS, _TRANSFER_PATIENCE = 8, 10


@distribution.on_devices
def train(
    output: common.OutputFolder,
    labels: Annotated[list[Path] | None, typer.Argument(show_default=False)] = None,
    data: Annotated[list[Path] | None, typer.Option(show_default=False)] = None,
    preset: str = common.DEFAULT_PRESET,
    start: Annotated[str | None, typer.Option("--from", show_default=False)] = None,
    scheme: Annotated[str | None, typer.Option(show_default=False)] = None,
    data_set: list[str] | None = None,
    split: list[str] | None = None,
    validation: Annotated[str | None, typer.Option(show_default=False)] = None,
    epochs: Annotated[int | None, typer.Option(min=1, max=2**31 - 1, show_default=False)] = None,
    head_epochs: Annotated[int, typer.Option(min=0, max=2**31 - 1)] = 3,
    patience: Annotated[int | None, typer.Option(min=0, max=2**31 - 1, show_default=False)] = None,
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
    landmark_offset: Annotated[
        bool | None, typer.Option("--landmark-offset/--no-landmark-offset", show_default=False)
    ] = None,
    seed: int = 0,
    precision: PrecisionName = "float32",
    jit: Annotated[bool | None, typer.Option("--jit/--no-jit")] = None,
    restart: Annotated[bool, typer.Option("--restart")] = False,
    kind: common.LabelKind = None,
    images: common.LabelImages = None,
    one_based: common.OneBased = None,
    units: common.LabelUnits = None,
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

    For landmarks of your own, give the label files or folders and the preset to start from:
    keras-facealign train labels.json --from sat1_cab_mobile --scheme my.yaml --output run. All its
    weights but those of the heads are kept; the heads are trained first, then everything. A part
    of the faces is held out, and the epoch with the best result there becomes the preset.

    Set KERAS_BACKEND=jax or torch to train on these backends.

    Args:
        labels: Label files or folders with landmarks of your own.
        data: Folder of the data set in its official layout, or labels of your own. Repeat it to
            train on several, with as many --data-set and, if they differ, --split in the same
            order.
        output: Folder of the run; an unfinished one is resumed.
        preset: Preset, by name or folder, whose architecture to train.
        start: Preset, by name or folder, whose trained weights to use for other landmarks.
        scheme: Scheme of the labels: a file that keras-facealign scheme wrote, or a name.
        data_set: Name of the data set: ibug_300w, merl_rav, turned_faces (the output of
            synthesize-poses), face_synthetics/ibug68, w300_lp or another with landmarks; default:
            labels of your own, else ibug_300w.
        split: Split to train on; default: train. Of your own pictures, a subfolder.
        validation: Split of the first data set to validate on after each epoch, or labels of your
            own; 'none' for no validation. Default: lfpw_test; of labels of your own, a part of the
            faces, whole persons where the labels tell them.
        epochs: Passes over the training faces; default: 60, with --from 8. With --from, an epoch
            of few faces is several passes.
        head_epochs: With --from, epochs before the others in which only the heads are trained.
        patience: End the run after as many epochs without a better validation, and keep the best
            epoch's weights; 0: never. Default: 0, with --from 10.
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
        landmark_offset: At the end measure how far the labels lie to one side, which mirrored views
            hide from the network, and give the preset the distance. Default: yes, but for recipes
            and landmarks without mirrored views.
        seed: Seed of initial weights, order and augmentation.
        precision: Dtype policy of the layers; weights and losses stay in float32. auto: the policy
            that a short measurement finds faster on this machine.
        jit: XLA compilation; default: Keras decides.
        restart: Remove an earlier run in the output folder, finished or not, and train from the
            beginning; its preset stays until the new one is complete.
    """
    import_keras()
    from keras_facealign.models.devices import process_place
    from keras_facealign.training import TrainingConfig

    paths = [*(labels or []), *(data or [])]
    if not paths:
        raise FaceAlignError("--data is missing; name the folder of a data set, or label files")
    if start is not None and (fine_tune or preset != common.DEFAULT_PRESET):
        raise FaceAlignError("--from names the preset; leave out --preset and --fine-tune")
    if boxes is not None and len(paths) > 1:
        raise FaceAlignError("--boxes names images of one data set; give a single --data")
    given = {
        "coherent_weight": coherent_weight,
        "foreground_weight": foreground_weight,
        "landmark_weight": landmark_weight,
        "jit_compile": "auto" if jit is None else jit,
    }
    compiled = _compile_arguments(recipe, given, rotation)
    defaults = _defaults(recipe)
    rate = defaults["learning_rate"] if start is None else _TRANSFER_RATE
    early = start is not None and validation != "none" and not ema_momentum
    settings: dict[str, Any] = {
        "epochs": epochs or (60 if start is None else _TRANSFER_EPOCHS),
        "batch_size": batch_size,
        "learning_rate": rate if learning_rate is None else learning_rate,
        "jitter": jitter,
        "seed": seed,
        "compile": compiled,
        "optimizer": optimizer or defaults["optimizer"],
        "ema_momentum": ema_momentum,
        "patience": _TRANSFER_PATIENCE * early if patience is None else patience,
        "landmark_offset": recipe is None if landmark_offset is None else landmark_offset,
    }
    TrainingConfig(**settings)  # checks them before anything is read
    skipped: list[str] = []
    reading = {"kind": kind, "images": images, "one_based": one_based, "units": units}
    faces = open_faces(paths, data_set, split, validation, scheme, skipped, reading)
    if not faces.scheme.has_flip_pairs:
        common.say(f"Training {faces.scheme.num_landmarks} landmarks, without mirrored views")
        _forbid_flips(compiled)
        settings["landmark_offset"] = False
    if faces.scheme.eye_corners is None:
        common.say("Errors are relative to the size of the box: no corners of the eyes are known")
    crops = None if boxes is None else read_boxes(boxes)
    source = preset if start is None else start
    with _precision(source, precision, seed):
        model = _build_model(preset, faces.scheme, fine_tune) if start is None else None
        model = model or transferred(source, faces)
    run = _Run(model, faces, output, settings, crops, restart, source)
    result = run.fit() if start is None else run.fit_transfer(head_epochs)
    if process_place()[0] == 0:
        _say_result(result, output, faces.validates)
        if dx := model.landmark_offset[0]:
            side = "left" if dx > 0 else "right"
            common.say(
                f"On the training faces its landmarks lie {abs(dx):.2f} pixels too far {side} in "
                "the mean; the preset corrects this, the NME above is without"
            )
        common.list_skipped(skipped)


@dataclass
class _Run:
    """A training run, as the options describe it."""

    model: Any
    faces: TrainingFaces
    output: Path
    settings: dict[str, Any]
    boxes: Any
    restart: bool
    source: str

    @property
    def metadata(self) -> dict[str, Any]:
        """Entries of the preset's metadata.json."""
        title = self.faces.title
        return {
            "description": f"Architecture of {self.source}, trained on {title}.",
            "landmarks": f"{self.model.num_landmarks} ({self.model.scheme.name})",
            "license": "that of the data set it was trained on",
            "trained_on": title,
        }

    def fit(self) -> dict[str, Any]:
        """Trains the network as a whole."""
        from keras_facealign.training import TrainingConfig, fit

        size, config = self.model.input_size, TrainingConfig(**self.settings)
        return fit(
            self.model,
            self.faces.train(size),
            self.faces.held_out(size),
            self.output,
            config,
            self.metadata,
            boxes=self.boxes,
            restart=self.restart,
        )

    def fit_transfer(self, head_epochs: int) -> dict[str, Any]:
        """Trains new heads on a trained network, then everything."""
        from keras_facealign.training import TrainingConfig
        from keras_facealign.training.transfer import fit_transfer

        config = TrainingConfig(**self.settings, warmup_steps=_TRANSFER_WARMUP)
        train, held_out = batches_of(self.faces, self.model, config, self.boxes)
        metadata = {**self.metadata, "started_from": self.source}
        return fit_transfer(
            self.model,
            train,
            held_out,
            self.output,
            config,
            metadata,
            head_epochs=head_epochs,
            restart=self.restart,
        )


def _compile_arguments(
    recipe: str | None, given: dict[str, Any], rotation: float | None
) -> dict[str, Any]:
    """Arguments of `FaceAlignModel.compile`: the recipe's, and what options replace."""
    compiled = {**_defaults(recipe)["compile"]}
    compiled.update((name, value) for name, value in given.items() if value is not None)
    if rotation is not None:
        base = {"base": {"rotation": rotation}}
        compiled["augmentation"] = {**compiled.get("augmentation", {}), **base}
    return compiled


def _say_result(result: dict[str, Any], output: Path, validated: bool) -> None:
    """Prints what the run has come to."""
    from keras_facealign.training.run_folder import RunFolder

    folder = RunFolder(output)
    epochs = common.count(folder.epochs, "epoch")
    nme = result.get("val_nme", math.nan)
    score = f", validation NME {nme:.3f} %" if validated else ""
    if validated and not math.isfinite(nme):
        score = ", validation NME not measured: no face has both outer corners of the eyes"
    elif (best := folder.best_epoch) is not None:
        score += f" in epoch {best}" if best else " at the start"
    if "already_finished" in result:
        common.say(
            f"{output} is finished: {epochs}{score}. --restart trains from the beginning; "
            f"for more epochs, give --preset {folder.preset} --fine-tune and another --output"
        )
    else:
        common.say(
            f"Trained {epochs} in {result['seconds'] / 60:.1f} minutes{score}; the preset "
            f"is in {folder.preset}"
        )


def _forbid_flips(settings: dict[str, Any]) -> None:
    """Leaves mirrored views out of settings of `compile`."""
    given = settings.get("augmentation", {})
    none = {part: {**given.get(part, {}), "flip": 0.0} for part in ("base", "pair")}
    settings["augmentation"] = {**given, **none}


@contextmanager
def _precision(preset: str, precision: PrecisionName, seed: int) -> Iterator[None]:
    """Sets the random seed, and the precision in which networks are built in the block."""
    import keras

    from keras_facealign.presets import preset_architecture
    from keras_facealign.training.precision import choose_precision
    from keras_facealign.training.seeds import set_random_seed

    architecture = preset_architecture(preset)
    policy = choose_precision(precision, architecture.map_size, architecture.filters)
    if precision == "auto":
        common.say(f"Training in {policy}")
    set_random_seed(seed)
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def _build_model(preset: str, scheme: LandmarkScheme, fine_tune: bool) -> Any:
    """Builds the network of a preset for the landmarks of a scheme."""
    from keras_facealign.landmarks import scheme_config
    from keras_facealign.presets import from_preset

    model = from_preset(preset, load_weights=fine_tune)
    if model.scheme == scheme:
        return model
    if fine_tune:
        count = scheme.num_landmarks
        raise FaceAlignError(
            f"Preset {preset} finds {model.num_landmarks} landmarks, and the labels have {count}; "
            "leave out --fine-tune, or give another preset"
            if model.num_landmarks != count
            else f"Preset {preset} finds the landmarks of {model.scheme.name}, and the labels are "
            f"of {scheme.name}; use --from {preset} instead of --fine-tune"
        )
    config = model.get_config()
    config["architecture"]["num_landmarks"] = scheme.num_landmarks
    return type(model).from_config(config | {"scheme": scheme_config(scheme)})


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
