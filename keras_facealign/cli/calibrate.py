"""`keras-facealign calibrate`: fits standard deviations and visibility on labeled faces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from keras_facealign.cli import _common as common
from keras_facealign.cli.own_labels import (
    examples,
    groups_of,
    is_own,
    load_labels,
    refuse_reading,
    scheme_for,
)
from keras_facealign.cli.quiet import import_keras
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import LandmarkScheme

if TYPE_CHECKING:
    from keras_facealign.calibration import Calibration, Observations
    from keras_facealign.data.labels import LabelSet

PartName = Literal["calibration", "validation", "all"]


def calibrate(
    preset: common.Preset,
    data: common.DataFolder,
    data_set: Annotated[str | None, typer.Option(show_default=False)] = None,
    split: str = "train",
    views: Annotated[int, typer.Option(min=2, max=64)] = 4,
    register: bool | None = None,
    without_jaw: Annotated[bool, typer.Option("--without-jaw")] = False,
    report: Path | None = None,
    check_only: Annotated[bool, typer.Option("--check-only")] = False,
    part: str = "all",
    limit: common.Limit = None,
    seed: common.Seed = 0,
    kind: common.LabelKind = None,
    images: common.LabelImages = None,
    one_based: common.OneBased = None,
    units: common.LabelUnits = None,
) -> None:
    """Calibrate a preset's standard deviations and visibility, and measure their quality.

    Fits on one eighth of the split's faces and measures on another; the name of a file decides to
    which part it belongs, and the training of the bundled presets excludes both. The result is
    calibration.json in the preset's folder, which from_preset and exports use.

    Of labels of your own, half is fitted on, and half measured on, whole persons where the labels
    tell them; give faces that the network was not trained on. Without hidden points in the labels,
    visibility stays as it was.

    Copies of MERL-RAV that were cropped from AFLW have slightly shifted labels, so labels are moved
    onto the prediction first. This hides errors that shift or scale the whole face: check with
    --check-only --no-register on a data set with exact labels, such as ibug_300w.

    Args:
        data: Folder of the data set in its official layout, or labels of your own.
        data_set: Name of the data set. Default: labels of your own, else merl_rav.
        split: Split to use.
        views: Views of each face, with random errors of the box.
        register: Shift and scale each face's labels onto the prediction before computing errors;
            default: for known data sets, not for labels of your own.
        without_jaw: Ignore errors of the jaw, for 3D presets: 2D labels follow the visible contour,
            and their jaw does not.
        report: Folder for calibration.png and quality.json; created if missing.
        check_only: Do not change the preset: measure its calibration on the faces that --part
            selects.
        part: With --check-only: all, or validation, the part of the split that the calibration of a
            bundled preset was not fitted on.
        limit: Use the first faces of each part only.
        seed: Seed of the boxes.
    """
    if part not in ("all", "validation"):
        raise FaceAlignError(f"There is no part {part!r} to check on; choose all or validation.")
    if part != "all" and not check_only:
        raise FaceAlignError(f"--part {part} needs --check-only; add it, or leave out --part.")
    import_keras()
    from keras_facealign.calibration import fit_calibration, weights_fingerprint
    from keras_facealign.calibration.quality import measure
    from keras_facealign.data.partition import take_part
    from keras_facealign.evaluation.collect_predictions import collect_predictions
    from keras_facealign.presets import find_preset, from_preset

    folder = find_preset(preset)
    model = from_preset(folder)
    without = model.scheme.regions.get("jaw", ()) if without_jaw else ()
    skipped: list[str] = []
    reading = {"kind": kind, "images": images, "one_based": one_based, "units": units}
    labels = _own_labels(data, data_set, model.scheme, reading)
    registered = labels is None if register is None else register

    def run(name: PartName, purpose: str) -> Observations:
        if labels is not None:
            faces = _own_faces(labels, name, model.scheme, skipped)
        else:
            faces = common.load_faces(data_set or "merl_rav", data, split, skipped)
            faces = faces if name == "all" else take_part(faces, name)
        faces = islice(faces, limit)
        # The number of faces in a part is known only after all have been read.
        with common.progress_bar(f"Faces to {purpose}", limit) as advance:
            return collect_predictions(
                *(model, faces, views, registered, seed),
                on_face=advance,
                without=without,
                unlabeled_is_hidden=labels is None,
            )

    source = data.name if labels is not None else f"{data_set or 'merl_rav'} {split}"
    if check_only:
        calibration = model.calibration
        if calibration is None:
            raise FaceAlignError(
                f"Preset {folder.name!r} is not calibrated; run the command without --check-only."
            )
        seen = run("all" if part == "all" else "validation", "check on")
        title = f"{folder.name} on {source}" + ("" if part == "all" else f", part for {part}")
    else:
        # The observations must not depend on an earlier calibration.
        before, model.calibration = model.calibration, None
        fitted = run("calibration", "calibrate on")
        fitted_on = (
            f"{source}, part to calibrate on: {fitted.faces} faces, {len(fitted.spread)} views"
            + ", labels registered" * registered
            + ", errors of the jaw left out" * without_jaw
        )
        calibration = fit_calibration(fitted, fitted_on, weights_fingerprint(model))
        calibration = _with_visibility(calibration, before)
        seen = run("validation", "validate on")
        title = f"{folder.name} on {source}, part to validate on"
    _finish(folder, calibration, measure(calibration, seen), title, report, not check_only)
    common.list_skipped(skipped)


def _with_visibility(calibration: Calibration, before: Calibration | None) -> Calibration:
    """Keeps the visibility of these weights where the labels do not tell what is hidden."""
    if calibration.has_visibility:
        return calibration
    kept = before is not None and before.has_visibility
    common.say(
        "No landmark is labeled as hidden, or none as visible: standard deviations are calibrated, "
        + ("visibility stays as it was." if kept else "visibility is not.")
    )
    if not kept:
        return calibration
    from keras_facealign.calibration.formula import VISIBILITY

    return replace(calibration, **{name: getattr(before, name) for name in VISIBILITY})


def _own_labels(
    data: Path, data_set: str | None, scheme: LandmarkScheme, reading: dict[str, Any]
) -> LabelSet | None:
    """Labels of one's own, checked against the network's scheme; None for a known data set."""
    from keras_facealign.data.readers import merl_rav

    known = data.is_dir() and merl_rav.survey(data).found
    if data_set is not None or known or not is_own(data):
        refuse_reading(reading)
        return None
    (labels,) = load_labels([data], reading)
    scheme_for(labels, scheme)
    return labels


def _own_faces(
    labels: LabelSet, part: PartName, scheme: LandmarkScheme, skipped: list[str]
) -> Iterator[Any]:
    """The faces of a half of own labels, or all."""
    from keras_facealign.data.partition import split_groups

    if part == "all":
        return examples(labels, scheme, skipped)
    halves = split_groups(groups_of(labels), 0.5)
    chosen = halves[0] if part == "calibration" else halves[1]
    if not chosen:
        raise FaceAlignError(
            f"{labels.path}: all faces are of one group, and half of them are to be measured on; "
            "give more labels"
        )
    return examples(labels.select(chosen), scheme, skipped)


def _finish(
    folder: Path, calibration: Any, quality: Any, title: str, report: Path | None, write: bool
) -> None:
    """Writes the calibration and the report, and prints the tables."""
    from keras_facealign.calibration import write_calibration
    from keras_facealign.calibration.plot import plot_quality
    from keras_facealign.storage.atomic import atomic_write
    from keras_facealign.storage.preset_folders import CALIBRATION

    if write:
        write_calibration(calibration, folder / CALIBRATION)
    common.print_tables(*quality.to_tables(title))
    if report is not None:
        common.make_folder(report)
        plot_quality(report / "calibration.png", quality, title)
        record = {"measured": title, "fitted_on": calibration.fitted_on, **quality.to_dict()}
        text = json.dumps(record, indent=2) + "\n"
        atomic_write(report / "quality.json", lambda file: file.write(text.encode()))
        common.say(f"The report is in {report}")
    if write:
        common.say(f"Wrote {folder / CALIBRATION}")
