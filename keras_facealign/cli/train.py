"""`keras-facealign train`: a preset's architecture, trained on a labeled data set."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_facealign.data.boxes import read_boxes
from keras_facealign.errors import FaceAlignError

if TYPE_CHECKING:
    from keras_facealign.models import FaceAlignModel
    from keras_facealign.training import TrainingConfig

__all__ = ["DataSet", "Optimizer", "Recipe", "train"]


class DataSet(str, Enum):
    """Data sets with 68 landmarks, as `keras_facealign.data.catalog.LOADERS` calls them."""

    IBUG_300W = "ibug_300w"
    MERL_RAV = "merl_rav"
    TURNED_FACES = "turned_faces"
    FACE_SYNTHETICS = "face_synthetics/ibug68"
    W300_LP = "w300_lp"


class Recipe(str, Enum):
    """Keys of `TRAINING_RECIPES`."""

    PAPER = "paper"
    DFA = "dfa"
    INSIGHTFACE = "insightface"
    INSIGHTFACE_2018 = "insightface_2018"
    OLD = "old"  # its name in version 0.1


class Optimizer(str, Enum):
    """Names that `TrainingConfig` knows."""

    ADAMW = "adamw"
    NADAM = "nadam"
    SHARED_NADAM = "shared_nadam"


def train(
    data: Annotated[
        list[Path],
        typer.Option(
            help="Folder of the data set in its official layout. Repeat it to train on several, "
            "with as many --data-set and, where they differ, --split in the same order."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the run; an unfinished one resumes.")
    ],
    preset: Annotated[
        str, typer.Option(help="Preset, by name or folder, whose architecture to train.")
    ] = "sat1_cab_mobile",
    data_set: Annotated[
        list[DataSet] | None,
        typer.Option(
            help="What the folder holds (turned_faces: what synthesize-poses wrote); ibug_300w "
            "unless given."
        ),
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="Split to train on; train unless given.")
    ] = None,
    validation: Annotated[
        str,
        typer.Option(
            help="Split of the first data set whose NME each epoch reports; 'none' for no "
            "validation."
        ),
    ] = "lfpw_test",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training faces.")] = 60,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Faces a step; each gives two views.")
    ] = 16,
    recipe: Annotated[
        Recipe | None,
        typer.Option(
            help="Losses, pairs, augmentation, optimizer and learning rate of the paper or of an "
            "original code; the options below then replace single parts. Without it: the paper's "
            "losses, and this command's own for the rest."
        ),
    ] = None,
    optimizer: Annotated[
        Optimizer | None,
        typer.Option(
            help="AdamW under a cosine schedule, Keras's Nadam, or MXNet's with one momentum "
            "schedule for all weights; the recipe's, or adamw."
        ),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Highest learning rate; the recipe's, or 0.001.")
    ] = None,
    coherent_weight: Annotated[
        float | None,
        typer.Option(min=0, help="Weight of the coherent loss (lambda); the recipe's, or 0.001."),
    ] = None,
    foreground_weight: Annotated[
        float | None,
        typer.Option(min=0, help="Extra weight of the pixels near a landmark; 0 in recipes, or 9."),
    ] = None,
    landmark_weight: Annotated[
        float | None,
        typer.Option(
            min=0, help="Weight of the decoded position's distance; 0 in recipes, or 0.01."
        ),
    ] = None,
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
    average: Annotated[
        float,
        typer.Option(
            help="Average the weights over the steps, validate and keep that average if it is "
            "better: what it keeps of itself in a step, such as 0.999. 0: no average."
        ),
    ] = 0.0,
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
    from keras_facealign.training import TrainingConfig

    usual = _usual(recipe)
    given = {
        "coherent_weight": coherent_weight,
        "foreground_weight": foreground_weight,
        "landmark_weight": landmark_weight,
    }
    schedule = TrainingConfig(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=usual["learning_rate"] if learning_rate is None else learning_rate,
        jitter=jitter,
        seed=seed,
        compile={
            **usual["compile"],
            **{name: value for name, value in given.items() if value is not None},
            "jit_compile": "auto" if jit is None else jit,
        },
        optimizer=usual["optimizer"] if optimizer is None else optimizer.value,
        average=average,
    )
    skipped: list[str] = []
    sources = _sources(data, data_set or [DataSet.IBUG_300W], split or ["train"])
    if boxes is not None and len(sources) > 1:
        raise FaceAlignError("--boxes names pictures of one data set; give a single --data")
    faces = chain.from_iterable([_open(*source, skipped) for source in sources])
    held_out = None
    if validation != "none":
        held_out = _open(*sources[0][:2], validation, skipped)
    crops = None if boxes is None else read_boxes(boxes)
    trained_on = ", ".join(f"{what.value} {part}" for what, _, part in sources)
    _run(schedule, preset, fine_tune, faces, held_out, crops, output, trained_on)
    for line in skipped:
        typer.echo(f"skipped: {line}", err=True)


def _usual(recipe: Recipe | None) -> dict[str, Any]:
    """What holds where no option says otherwise."""
    from keras_facealign.objective.recipes import RENAMED_RECIPES
    from keras_facealign.training.optimizers import RECIPE_OPTIMIZERS

    if recipe is not None:
        chosen = RECIPE_OPTIMIZERS[RENAMED_RECIPES.get(recipe.value, recipe.value)]
        return {
            "optimizer": "shared_nadam" if chosen.shared_schedule else "nadam",
            "learning_rate": chosen.learning_rate,
            "compile": {"recipe": recipe.value},
        }
    # Short runs of small networks ask for more weight where the landmarks are; see
    # examples/train_2d.py.
    return {
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "compile": {
            "coherent_weight": 0.001,
            "foreground_weight": 9.0,
            "landmark_weight": 0.01,
            "augmentation": {"color": 0.3, "erase": 0.5},
        },
    }


def _sources(
    data: list[Path], data_sets: list[DataSet], splits: list[str]
) -> list[tuple[DataSet, Path, str]]:
    """What to train on; a single kind or split holds for all folders."""
    for option, values in (("--data-set", data_sets), ("--split", splits)):
        if len(values) not in (1, len(data)):
            raise FaceAlignError(
                f"{option} is given {len(values)} times for {len(data)} --data; give one for each"
            )
    count = len(data)
    kinds = data_sets if len(data_sets) == count else data_sets * count
    parts = splits if len(splits) == count else splits * count
    return list(zip(kinds, data, parts, strict=True))


def _open(data_set: DataSet, root: Path, split: str, skipped: list[str]) -> Iterator[Any]:
    """Starts reading a split; an unknown split or a folder without data fails at once."""
    from keras_facealign.data.catalog import load

    return load(data_set.value, root, split, on_skip=lambda error: skipped.append(str(error)))


def _run(
    schedule: TrainingConfig,
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
