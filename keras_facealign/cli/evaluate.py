"""`keras-facealign evaluate`: the accuracy of a preset on a split of 300W."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_facealign.errors import FaceAlignError

if TYPE_CHECKING:
    from rich.console import Console

    from keras_facealign.evaluation import EvaluationReport, Predictions, WorstFaces

__all__ = ["BoxSource", "evaluate"]


class BoxSource(str, Enum):
    """Where the face boxes of an evaluation come from."""

    GROUND_TRUTH = "ground-truth"
    MTCNN = "mtcnn"


def evaluate(
    preset: Annotated[str, typer.Argument(help="Name of a preset, or folder that holds one.")],
    data: Annotated[
        Path, typer.Option(help="Folder of the 300W data set: holds afw, helen, lfpw, ...")
    ],
    output: Annotated[Path, typer.Option(help="Folder for the results; made if missing.")],
    split: Annotated[
        str,
        typer.Option(help="train, helen_test, lfpw_test, common, challenge, full or test."),
    ] = "lfpw_test",
    boxes: Annotated[
        BoxSource, typer.Option(help="Crop by the labels' boxes, or by those that MTCNN finds.")
    ] = BoxSource.GROUND_TRUTH,
    batch_size: Annotated[int, typer.Option(min=1, help="Images aligned at a time.")] = 16,
) -> None:
    """Measure a preset on 300W: NME under every normaliser, failure rate, AUC, and pictures.

    Writes report.json, per_image.csv, predictions.npz, ced.png (cumulative error curve) and
    worst.png (the ten worst faces) into the output folder. Errors are in percent. With detected
    boxes, faces that the detector misses have no NME: they are counted, and named in the report.
    """
    from rich.console import Console

    from keras_facealign.data.ibug_300w import find_samples
    from keras_facealign.evaluation import Predictions, WorstFaces, predict
    from keras_facealign.evaluation.predictions import MIN_OVERLAP

    detect = boxes is BoxSource.MTCNN
    # The data comes first: looking for it is quick, loading a network is not.
    total = len(find_samples(data, split))
    output.mkdir(parents=True, exist_ok=True)
    model, aligner = _load(preset, detector="mtcnn" if detect else None)

    console = Console()
    predictions, worst = Predictions(), WorstFaces(scheme=model.scheme)
    skipped: list[str] = []
    faces = predict(aligner, _examples(data, split, skipped), detect, batch_size)
    _collect(faces, predictions, worst, total, output)

    info: dict[str, Any] = {"preset": preset, "data": f"300W {split}", "boxes": boxes.value}
    if detect:
        info["missed_if_overlap_below"] = MIN_OVERLAP
    report = predictions.report(scheme=model.scheme, info={**info, "skipped": skipped})
    report.to_json(output / "report.json")
    report.to_csv(output / "per_image.csv")
    console.print(report.to_table(title=f"{preset} on 300W {split}, {boxes.value} boxes"))
    _print_exceptions(report, skipped, console)
    _draw(report, worst, preset, output)
    console.print(f"Results are in {output}", markup=False, highlight=False, soft_wrap=True)


def _load(preset: str, detector: str | None) -> tuple[Any, Any]:
    """The preset's model, and an aligner around it."""
    from keras_facealign.data.ibug_300w import NUM_LANDMARKS
    from keras_facealign.inference import FaceAligner
    from keras_facealign.presets import from_preset

    model = from_preset(preset)
    if model.num_landmarks != NUM_LANDMARKS:
        raise FaceAlignError(
            f"{preset}: the preset finds {model.num_landmarks} landmarks and 300W labels "
            f"{NUM_LANDMARKS}; choose a preset with {NUM_LANDMARKS}."
        )
    return model, FaceAligner(model, detector)


def _examples(data: Path, split: str, skipped: list[str]) -> Iterator[Any]:
    """The split's examples; reasons for files that cannot be used go to `skipped`."""
    from keras_facealign.data.ibug_300w import load_samples

    # The reader also warns of each; it would be read twice, as they are listed at the end.
    logger = logging.getLogger("keras_facealign.data.samples")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield from load_samples(data, split, on_skip=lambda error: skipped.append(str(error)))
    finally:
        logger.setLevel(level)


def _collect(
    faces: Any,
    predictions: Predictions,
    worst: WorstFaces,
    total: int,
    output: Path,
) -> None:
    """Runs through the faces under a progress bar, and saves what there is whatever happens."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    partial = output / "predictions.partial.npz"
    columns = (TextColumn("Aligning"), BarColumn(), MofNCompleteColumn(), Remaining())
    try:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task("", total=total)
            for example, face in faces:
                predictions.add(example, face)
                progress.advance(task)
                if face is not None:
                    _show(worst, example, face)
            progress.update(task, completed=total)
    except BaseException:
        if len(predictions):
            predictions.save(partial)
            typer.echo(
                f"Stopped after {len(predictions)} of {total} faces; they are in {partial}",
                err=True,
            )
        raise
    predictions.save(output / "predictions.npz")
    partial.unlink(missing_ok=True)


def _show(worst: WorstFaces, example: Any, face: Any) -> None:
    """Shows a face with its error to the collection of the worst."""
    from keras_facealign.evaluation import nme

    sets = (face.landmarks, example.landmarks, example.visibility)
    prediction, truth, visibility = (points[None] for points in sets)
    try:
        error = nme(prediction, truth, visibility=visibility, undefined="nan")[0]
    except FaceAlignError as reason:
        raise FaceAlignError(f"{example.file_name}: {reason}") from reason
    worst.add(error, example.file_name, example.image, *sets)


def _print_exceptions(report: EvaluationReport, skipped: list[str], console: Console) -> None:
    """Faces without a prediction, and files that could not be used."""
    if report.missed:
        faces = len(report.file_names) + len(report.missed)
        lines = [
            f"Missed {len(report.missed)} of {faces} faces. They have no NME, so the NMEs are over "
            "the others; the rows 'missed = failed' count each as a failure. Missed:",
            *report.missed,
        ]
        console.print("\n  ".join(lines), markup=False, highlight=False, soft_wrap=True)
    if skipped:
        lines = [f"{len(skipped)} samples could not be used:", *skipped]
        console.print("\n  ".join(lines), markup=False, highlight=False, soft_wrap=True)


def _draw(report: EvaluationReport, worst: WorstFaces, preset: str, output: Path) -> None:
    import numpy as np

    from keras_facealign.evaluation import plot_ced

    errors = report.nmes[report.normalizer]
    errors = errors[~np.isnan(errors)]
    name = Path(preset).name or preset
    curves = {name: errors}
    if report.missed:
        missed = np.full(len(report.missed), np.inf)
        curves[f"{name}, missed = failed"] = np.concatenate([errors, missed])
    plot_ced(output / "ced.png", curves)
    worst.save(output / "worst.png")
