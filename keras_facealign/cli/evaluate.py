"""`keras-facealign evaluate`: how accurate a preset, or any predictions, are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_facealign.cli.align import FlipTest
from keras_facealign.errors import FaceAlignError

if TYPE_CHECKING:
    from rich.console import Console

    from keras_facealign.evaluation import EvaluationReport, Predictions, Protocol

__all__ = ["BoxSource", "evaluate"]

# Faces in worst.png.
_IN_PICTURE = 10


class BoxSource(str, Enum):
    """Where the face boxes of an evaluation come from."""

    GROUND_TRUTH = "ground-truth"
    MTCNN = "mtcnn"


def evaluate(
    preset: Annotated[
        str, typer.Argument(help="Name of a preset, or folder that holds one.", show_default=False)
    ] = "",
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the data set in its official layout.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the results; made if missing.")
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="Published protocol, such as 300w_full; 'list' lists them.")
    ] = "",
    split: Annotated[
        str,
        typer.Option(
            help="Without a protocol, a split of the data set; of 300W: train, helen_test, "
            "lfpw_test, common, challenge, full or test."
        ),
    ] = "lfpw_test",
    data_set: Annotated[
        str,
        typer.Option(
            help="Without a protocol, what the folder holds, by its builder's name; or "
            "face_synthetics/ibug68, aflw_3d_crops, turned_faces. Of 68 landmarks; the main "
            "normalizer is the box's size for all but 300W."
        ),
    ] = "ibug_300w",
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Instead of a preset: predictions.npz of an earlier run, or another library's "
            "predictions (.npz, .npy, .json, .csv, or a folder of .pts)."
        ),
    ] = None,
    boxes: Annotated[
        BoxSource, typer.Option(help="Crop by the labels' boxes, or by those that MTCNN finds.")
    ] = BoxSource.GROUND_TRUTH,
    batch_size: Annotated[int, typer.Option(min=1, help="Images aligned at a time.")] = 16,
    flip_test: FlipTest = False,
) -> None:
    """Measure a preset or predictions under a published protocol, or on a split of a data set.

    Prints NME under every normalizer, failure rates, AUC, errors by region and, where the labels
    tell, by visibility. Writes report.json, per_image.csv, report.html (curves, published results,
    error by landmark, best, median and worst faces; opens without a network), ced.png, worst.png
    and predictions.npz, which --predictions reads again, into the output folder. Errors are in
    percent. With detected boxes, faces that the detector misses have no NME: they are counted, and
    named in the report.
    """
    from rich.console import Console

    console = Console()
    if protocol == "list":
        _list_protocols(console)
        return
    if output is None:
        raise FaceAlignError("--output is missing; name a folder for the results")
    if bool(preset) == bool(predictions):
        raise FaceAlignError("give either a preset or --predictions, and not both")
    if predictions is not None and flip_test:
        raise FaceAlignError("--flip-test goes with a preset: --predictions runs no network")
    task = _Task.choose(protocol, split, data, data_set)
    if predictions is None:
        kept, info = _run_preset(preset, task, boxes, batch_size, flip_test, output, console)
    else:
        kept = _from_file(predictions, task)
        info = {"predictions": predictions.name}
        output.mkdir(parents=True, exist_ok=True)
    report = task.report(kept, info)
    name = Path(preset).name or preset if predictions is None else predictions.stem
    heading = f"{name} on {task.title}"
    _write(report, task, heading, name, output)
    console.print(report.to_table(title=heading))
    _print_exceptions(report, task.skipped, console)
    console.print(f"Results are in {output}", markup=False, highlight=False, soft_wrap=True)


@dataclass
class _Task:
    """What to evaluate on."""

    title: str
    scheme: str
    protocol: Protocol | None
    split: str
    data: Path | None
    skipped: list[str]
    total: int | None
    data_set: str = "ibug_300w"

    @classmethod
    def choose(cls, protocol: str, split: str, data: Path | None, data_set: str) -> _Task:
        """The protocol by its name, or else the split of the data set."""
        from keras_facealign.data.readers.ibug_300w import find_samples
        from keras_facealign.evaluation import get_protocol

        if protocol:
            chosen = get_protocol(protocol)
            return cls(chosen.title, chosen.scheme, chosen, "", data, [], None)
        if data_set != "ibug_300w":
            title = f"{data_set} {split}"
            return cls(title, "ibug68", None, split, data, [], None, data_set)
        # Looking for the data is quick, loading a network is not.
        total = None if data is None else len(find_samples(data, split))
        return cls(f"300W {split}", "ibug68", None, split, data, [], total)

    def examples(self, note: Callable[[FaceAlignError], None] | None = None) -> Iterator[Any]:
        """The labeled faces; reasons for files that cannot be used go to `note`."""
        if self.data is None:
            raise FaceAlignError("--data is missing; name the folder of the data set")
        # The reader also warns of each; it would be read twice, as they are listed at the end.
        loggers = [logging.getLogger(f"keras_facealign.data.{n}") for n in ("samples", "reading")]
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield from self._load(note or (lambda error: None))
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)

    def noted_examples(self) -> Iterator[Any]:
        """The labeled faces, with unusable files kept for the report."""
        return self.examples(lambda error: self.skipped.append(str(error)))

    def _load(self, note: Callable[[FaceAlignError], None]) -> Iterator[Any]:
        from keras_facealign.data.catalog import load

        assert self.data is not None
        if self.protocol is not None:
            return self.protocol.load(self.data, on_skip=note)
        return load(self.data_set, self.data, self.split, on_skip=note)

    def report(self, kept: Predictions, info: dict[str, Any]) -> EvaluationReport:
        from keras_facealign.landmarks import get_scheme

        info = {**info, "data": self.title, "skipped": self.skipped}
        if self.protocol is not None:
            return self.protocol.report(kept, **info)
        # Other sets have faces seen from the side, whose eyes are near each other, or unlabeled.
        main = "inter_ocular" if self.data_set == "ibug_300w" else "box_size"
        return kept.report(scheme=get_scheme(self.scheme), normalizer=main, info=info)


def _run_preset(
    preset: str,
    task: _Task,
    boxes: BoxSource,
    batch_size: int,
    flip_test: bool,
    output: Path,
    console: Console,
) -> tuple[Predictions, dict[str, Any]]:
    """Aligns all faces with a preset and keeps the result in the output folder."""
    from keras_facealign.evaluation import Predictions, predict
    from keras_facealign.evaluation.predictions import MIN_OVERLAP, converter

    if task.data is None:
        raise FaceAlignError("--data is missing; name the folder of the data set")
    detect = boxes is BoxSource.MTCNN
    legacy = task.protocol.legacy if task.protocol else None
    if legacy is not None and detect:
        raise FaceAlignError("legacy_mxnet crops by the labels, as the original code does")
    if legacy is not None and flip_test:
        raise FaceAlignError(
            "legacy_mxnet mirrors no faces, as the original code; leave out --flip-test"
        )
    examples = _first_read(task.noted_examples())
    output.mkdir(parents=True, exist_ok=True)
    model, aligner = _load_preset(preset, "mtcnn" if detect else None, flip_test)
    info: dict[str, Any] = {"preset": preset, "boxes": boxes.value, "flip_test": flip_test}
    if detect:
        info["missed_if_overlap_below"] = MIN_OVERLAP
    if legacy is not None:
        info["measure"] = f"{legacy.variant}, {legacy.dimensions}D, margin of {legacy.image_set}"
        kept = legacy.predictions(model, examples, batch_size)
        kept.save(output / "predictions.npz")
        return kept, info
    kept = Predictions()
    convert = converter(model.scheme.name, task.scheme, preset)
    faces = predict(aligner, examples, detect, batch_size)
    pairs = ((example, convert(face)) for example, face in faces)
    _collect(pairs, kept, task.total, output)
    return kept, info


def _first_read(examples: Iterator[Any]) -> Iterator[Any]:
    """The examples, of which the first is read at once: missing data is reported early."""
    from itertools import chain

    return chain(list(_take_one(examples)), examples)


def _take_one(examples: Iterator[Any]) -> Iterator[Any]:
    for example in examples:
        yield example
        return


def _load_preset(preset: str, detector: str | None, flip_test: bool) -> tuple[Any, Any]:
    """The preset's model, and an aligner around it."""
    from keras_facealign.inference import FaceAligner
    from keras_facealign.presets import from_preset

    model = from_preset(preset)
    return model, FaceAligner(model, detector, flip_test=flip_test)


def _from_file(path: Path, task: _Task) -> Predictions:
    """Predictions with their ground truth: from the data, or from the file itself."""
    from keras_facealign.evaluation import Predictions, predictions_from_file
    from keras_facealign.landmarks import get_scheme

    if task.protocol is not None and task.protocol.legacy is not None and task.data is not None:
        raise FaceAlignError(
            "legacy_mxnet decodes and rounds by itself; give a preset, or without --data the "
            "predictions.npz of such a run"
        )
    if task.data is None:
        if path.suffix.lower() != ".npz":
            raise FaceAlignError(f"{path}: has no ground truth; give the folder of it with --data")
        return Predictions.load(path)
    return predictions_from_file(path, task.noted_examples(), get_scheme(task.scheme))


def _collect(faces: Any, kept: Predictions, total: int | None, output: Path) -> None:
    """Runs through the faces under a progress bar, and saves what there is whatever happens."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    partial = output / "predictions.partial.npz"
    columns = (TextColumn("Aligning"), BarColumn(), MofNCompleteColumn(), Remaining())
    try:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            bar = progress.add_task("", total=total)
            for example, face in faces:
                kept.add(example, face)
                progress.advance(bar)
            progress.update(bar, completed=total or len(kept), total=total or len(kept))
    except BaseException:
        if len(kept):
            kept.save(partial)
            typer.echo(
                f"Stopped after {len(kept)} of {total or 'all'} faces; they are in {partial}",
                err=True,
            )
        raise
    kept.save(output / "predictions.npz")
    partial.unlink(missing_ok=True)


def _write(report: EvaluationReport, task: _Task, title: str, name: str, output: Path) -> None:
    """The report in all its forms."""
    import numpy as np

    from keras_facealign.evaluation import plot_ced
    from keras_facealign.evaluation.faces import collect_faces, extreme_faces
    from keras_facealign.evaluation.page import NORMALIZER_NAMES, SHOWN
    from keras_facealign.evaluation.plots import save_faces

    report.to_json(output / "report.json")
    report.to_csv(output / "per_image.csv")
    errors = report.nmes[report.normalizer]
    limit = task.protocol.curve if task.protocol else 10.0
    worst_faces = extreme_faces(errors, _IN_PICTURE)["worst"]
    shown = extreme_faces(errors, SHOWN)
    faces = {}
    # The original code's measure works on crops of its own, which have no place in the pictures.
    legacy = task.protocol is not None and task.protocol.legacy is not None
    if task.data is not None and not legacy:
        wanted = {*worst_faces, *(i for kind in shown.values() for i in kind)}
        faces = collect_faces(report, wanted, task.examples())
    worst = [(errors[i], faces[i]) for i in worst_faces if i in faces]
    if worst:
        save_faces(output / "worst.png", worst, report.scheme)
    defined = errors[~np.isnan(errors)]
    if defined.size:
        curves = {name: defined}
        if report.missed:
            missed = np.full(len(report.missed), np.inf)
            curves[f"{name}, missed = failed"] = np.concatenate([defined, missed])
        label = f"NME, % of {NORMALIZER_NAMES[report.normalizer]}"
        plot_ced(output / "ced.png", curves, limit, label)
    report.to_html(
        output / "report.html",
        title=title,
        curve_name=name,
        limit=limit,
        protocol=task.protocol.name if task.protocol else None,
        faces=faces,
    )


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


def _list_protocols(console: Console) -> None:
    from rich.table import Table

    from keras_facealign.evaluation import PROTOCOLS

    table = Table()
    for heading in ("protocol", "data", "faces", "main normalizer", "rates at, %"):
        whole = heading in ("protocol", "main normalizer")
        table.add_column(heading, no_wrap=whole, overflow="fold")
    for each in PROTOCOLS.values():
        rates = [
            f"{rate:g}" if isinstance(rate, float) else f"{rate[1]:g} ({rate[0]})"
            for rate in each.thresholds
        ]
        cells = (each.name, each.title, str(each.faces), each.normalizer)
        table.add_row(*cells, ", ".join(rates))
    console.print(table)
