"""`keras-facealign evaluate`: measures the accuracy of a preset, or of any predictions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from keras_facealign.cli import _common as common
from keras_facealign.cli.own_labels import (
    examples,
    find_scheme,
    is_own,
    load_labels,
    refuse_reading,
    scheme_for,
)
from keras_facealign.cli.quiet import import_keras
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import IBUG68, LandmarkScheme, get_scheme

if TYPE_CHECKING:
    from keras_facealign.data.labels import LabelSet
    from keras_facealign.evaluation import EvaluationReport, Predictions, Protocol

# Faces in worst.png.
_NUM_WORST = 10


def evaluate(
    preset: Annotated[str, typer.Argument(show_default=False)] = "",
    data: Annotated[Path | None, typer.Option(show_default=False)] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o")] = None,
    protocol: str = "",
    split: str = "lfpw_test",
    data_set: Annotated[str | None, typer.Option(show_default=False)] = None,
    scheme: Annotated[str | None, typer.Option(show_default=False)] = None,
    predictions: Path | None = None,
    boxes: Literal["ground-truth", "blazeface", "mtcnn"] = "ground-truth",
    batch_size: common.BatchSize = 16,
    flip_test: common.FlipTest = False,
    kind: common.LabelKind = None,
    images: common.LabelImages = None,
    one_based: common.OneBased = None,
    units: common.LabelUnits = None,
) -> None:
    """Measure a preset or predictions under a published protocol, on a data set, or on own labels.

    Prints NME under every normalizer, failure rates, AUC, errors by region and, if the labels
    include it, by visibility. Writes report.json, per_image.csv, report.html (curves, published
    results, error by landmark, best, median and worst faces; viewable offline), ced.png, worst.png
    and predictions.npz, which --predictions accepts, into the output folder. Errors are in percent.
    With detected boxes, faces that the detector misses have no NME: they are counted, and named in
    the report.

    Args:
        preset: Name of a preset, or folder of one.
        data: Folder of the data set in its official layout, or labels of your own.
        output: Folder for the results; created if missing.
        protocol: Published protocol, such as 300w_full; 'list' lists them.
        split: Without a protocol, a split of the data set; of 300W: train, helen_test, lfpw_test,
            common, challenge, full or test.
        data_set: Without a protocol, name of the data set, with 68 landmarks: that of its builder,
            face_synthetics/ibug68, aflw_3d_crops or turned_faces. The main normalizer is the box
            size for all but 300W. Default: labels of your own, else ibug_300w.
        scheme: Scheme of your own labels: a file or a name; default: the preset's.
        predictions: Instead of a preset: predictions.npz of an earlier run, or another library's
            predictions (.npz, .npy, .json, .csv, or a folder of .pts).
        boxes: Crop by the labels' boxes, or by those that BlazeFace or MTCNN detects.
    """
    if protocol == "list":
        return _list_protocols()
    if output is None:
        raise FaceAlignError("--output is missing; name a folder for the results")
    if bool(preset) == bool(predictions):
        raise FaceAlignError("give either a preset or --predictions, and not both")
    if predictions is not None and flip_test:
        raise FaceAlignError("--flip-test needs a preset: --predictions runs no network")
    reading = {"kind": kind, "images": images, "one_based": one_based, "units": units}
    task = _Task.choose(protocol, split, data, data_set, scheme, reading)
    if predictions is None:
        kept, info = _run_preset(preset, task, boxes, batch_size, flip_test, output)
    else:
        kept, info = _from_file(predictions, task), {"predictions": predictions.name}
        common.make_folder(output)
    report = task.report(kept, info)
    name = Path(preset).name or preset if predictions is None else predictions.stem
    title = f"{name} on {task.title}"
    _write(report, task, title, name, output)
    common.print_tables(report.to_table(title=title))
    if report.missed:
        faces = len(report.file_names) + len(report.missed)
        _list(
            f"Missed {len(report.missed)} of {faces} faces. They have no NME, so the NMEs are over "
            "the others; the rows 'missed = failed' count each as a failure. Missed:",
            report.missed,
        )
    _list(f"{len(task.skipped)} samples could not be used:", task.skipped)
    common.say(f"Results are in {output}")


@dataclass
class _Task:
    """The labeled faces to evaluate on."""

    title: str
    split: str
    data: Path | None
    data_set: str = "ibug_300w"
    scheme: LandmarkScheme = IBUG68
    labels: LabelSet | None = None
    protocol: Protocol | None = None
    total: int | None = None
    skipped: list[str] = field(default_factory=list)

    @classmethod
    def choose(
        cls,
        protocol: str,
        split: str,
        data: Path | None,
        data_set: str | None,
        scheme: str | None,
        reading: dict[str, Any],
    ) -> _Task:
        """Selects the protocol by its name, or else the labels or the split of the data set."""
        given = find_scheme(scheme)
        if not protocol and data_set is None and data is not None and is_own(data):
            (labels,) = load_labels([data], reading)
            return cls(data.name, "", data, "", scheme_for(labels, given), labels)
        if given is not None:
            raise FaceAlignError("--scheme is for labels of your own; leave it out")
        refuse_reading(reading)
        data_set = data_set or "ibug_300w"
        from keras_facealign.data.readers.ibug_300w import find_samples
        from keras_facealign.evaluation import get_protocol

        if protocol:
            chosen = get_protocol(protocol)
            return cls(chosen.title, "", data, scheme=get_scheme(chosen.scheme), protocol=chosen)
        if data_set != "ibug_300w":
            return cls(f"{data_set} {split}", split, data, data_set)
        # Files are searched for before a network is loaded, which takes longer.
        total = None if data is None else len(find_samples(data, split))
        return cls(f"300W {split}", split, data, total=total)

    @property
    def legacy(self) -> Any:
        """The evaluation of the original MXNet code, if the protocol uses it."""
        return None if self.protocol is None else self.protocol.legacy

    def examples(self, skipped: list[str]) -> Iterator[Any]:
        """Reads the labeled faces; messages about unusable files are added to `skipped`."""
        from keras_facealign.data.catalog import load

        if self.labels is not None:
            return examples(self.labels, self.scheme, skipped)
        if self.data is None:
            raise FaceAlignError("--data is missing; name the folder of the data set")

        def note(error: FaceAlignError) -> None:
            skipped.append(common.one_line(error))

        if self.protocol is not None:
            return self.protocol.load(self.data, on_skip=note)
        return load(self.data_set, self.data, self.split, on_skip=note)

    def report(self, kept: Predictions, info: dict[str, Any]) -> EvaluationReport:
        """Computes the report under the protocol, or under the data set's main normalizer."""
        info = {**info, "data": self.title, "skipped": self.skipped}
        if self.protocol is not None:
            return self.protocol.report(kept, **info)
        # Other data sets contain profiles, whose eyes are close together or not labeled.
        eyes = self.data_set == "ibug_300w" or self.labels is not None
        main = "inter_ocular" if eyes and self.scheme.eye_corners else "box_size"
        return kept.report(scheme=self.scheme, normalizer=main, info=info)


def _run_preset(
    preset: str, task: _Task, boxes: str, batch_size: int, flip_test: bool, output: Path
) -> tuple[Predictions, dict[str, Any]]:
    """Aligns all faces with a preset and saves the predictions in the output folder."""
    detect, legacy = boxes != "ground-truth", task.legacy
    if legacy is not None and detect:
        raise FaceAlignError("legacy_mxnet crops by the labels, as the original code does")
    if legacy is not None and flip_test:
        raise FaceAlignError(
            "legacy_mxnet has no flip test, as the original code; leave out --flip-test"
        )
    # The first face is read before the network is loaded, so that missing data is reported early.
    first = next(task.examples([]))
    common.make_folder(output)
    import_keras()

    from keras_facealign.evaluation import Predictions, predict
    from keras_facealign.evaluation.predictions import MIN_OVERLAP, converter
    from keras_facealign.inference import FaceAligner
    from keras_facealign.presets import from_preset

    model = from_preset(preset)
    if task.labels is not None and len(first.landmarks) == model.num_landmarks:
        task.scheme = scheme_for(task.labels, model.scheme)
    faces = task.examples(task.skipped)
    info: dict[str, Any] = {"preset": preset, "boxes": boxes, "flip_test": flip_test}
    if detect:
        info["missed_if_overlap_below"] = MIN_OVERLAP
    if legacy is not None:
        info["measure"] = f"{legacy.variant}, {legacy.dimensions}D, margin of {legacy.image_set}"
        kept = legacy.predictions(model, faces, batch_size)
        kept.save(output / "predictions.npz")
        return kept, info
    kept = Predictions()
    aligner = FaceAligner(model, boxes if detect else None, flip_test=flip_test)
    convert = converter(model.scheme, task.scheme, preset)
    found = predict(aligner, faces, detect, batch_size)
    _collect(((example, convert(face)) for example, face in found), kept, task.total, output)
    return kept, info


def _from_file(path: Path, task: _Task) -> Predictions:
    """Reads predictions, with ground truth from the data or from the file itself."""
    from keras_facealign.evaluation import Predictions, predictions_from_file

    if task.legacy is not None and task.data is not None:
        raise FaceAlignError(
            "legacy_mxnet has its own decoder; give a preset, or without --data the "
            "predictions.npz of such a run"
        )
    if task.data is None:
        if path.suffix.lower() != ".npz":
            raise FaceAlignError(f"{path}: has no ground truth; give the folder of it with --data")
        return Predictions.load(path)
    return predictions_from_file(path, task.examples(task.skipped), task.scheme)


def _collect(faces: Any, kept: Predictions, total: int | None, output: Path) -> None:
    """Collects predictions and saves them; those of an interrupted run go to a separate file."""
    partial = output / "predictions.partial.npz"
    try:
        with common.progress_bar("Aligning", total, stderr=True) as advance:
            for example, face in faces:
                kept.add(example, face)
                advance()
    except BaseException:
        if len(kept):
            kept.save(partial)
            done = f"{len(kept)} of {total or 'all'} faces"
            common.say(f"Stopped after {done}; they are in {partial}", err=True)
        raise
    kept.save(output / "predictions.npz")
    partial.unlink(missing_ok=True)


def _write(report: EvaluationReport, task: _Task, title: str, name: str, output: Path) -> None:
    """Writes the report in all formats."""
    import numpy as np

    from keras_facealign.evaluation import plot_ced
    from keras_facealign.evaluation.faces import collect_faces, extreme_faces
    from keras_facealign.evaluation.page import NORMALIZER_NAMES, SHOWN
    from keras_facealign.evaluation.plots import save_faces

    report.to_json(output / "report.json")
    report.to_csv(output / "per_image.csv")
    errors = report.nmes[report.normalizer]
    limit = task.protocol.curve if task.protocol else 10.0
    worst = extreme_faces(errors, _NUM_WORST)["worst"]
    faces = {}
    # The original code evaluates on its own crops, whose coordinates do not fit the images.
    if task.data is not None and task.legacy is None:
        shown = extreme_faces(errors, SHOWN).values()
        faces = collect_faces(report, {*worst, *chain.from_iterable(shown)}, task.examples([]))
    if pairs := [(errors[i], faces[i]) for i in worst if i in faces]:
        save_faces(output / "worst.png", pairs, report.scheme)
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


def _list(heading: str, lines: Any) -> None:
    if lines:
        common.say(heading, *(f"  {line}" for line in lines))


def _list_protocols() -> None:
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
    common.print_tables(table)
