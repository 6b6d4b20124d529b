"""`keras-facealign calibrate`: how sure a preset is of landmarks, learned from labeled faces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_facealign.errors import FaceAlignError

if TYPE_CHECKING:
    from keras_facealign.calibration import Observations

__all__ = ["calibrate"]


def calibrate(
    preset: Annotated[str, typer.Argument(help="Name of a preset, or folder that holds one.")],
    data: Annotated[Path, typer.Option(help="Folder of the data set in its official layout.")],
    data_set: Annotated[
        str, typer.Option(help="What the folder holds; its labels must tell what is hidden.")
    ] = "merl_rav",
    split: Annotated[str, typer.Option(help="Split to take the faces from.")] = "train",
    views: Annotated[
        int, typer.Option(min=2, max=64, help="Views of each face; boxes stray as detectors' do.")
    ] = 4,
    register: Annotated[
        bool,
        typer.Option(
            "--register/--no-register",
            help="Shift and scale each face's labels onto the prediction before errors are taken.",
        ),
    ] = True,
    without_jaw: Annotated[
        bool,
        typer.Option(
            "--without-jaw",
            help="Take no errors along the jaw, for 3D presets: labels in 2D follow the contour "
            "that is seen, and their jaw does not.",
        ),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(help="Folder for calibration.png and quality.json; made if missing."),
    ] = None,
    check_only: Annotated[
        bool,
        typer.Option(
            "--check-only",
            help="Write nothing into the preset: measure the calibration that it has, on the faces "
            "that --part says.",
        ),
    ] = False,
    part: Annotated[
        str,
        typer.Option(
            help="With --check-only: all, or the part of the split that the calibration of a "
            "bundled preset did not see, validation."
        ),
    ] = "all",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Take the first faces of each part only.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides the boxes.")] = 0,
) -> None:
    """Calibrate a preset's standard deviations and visibility, and measure how good they are.

    An eighth of the split's faces is fitted to and another eighth measured on; a file's name
    decides to which it belongs, and training of the bundled presets leaves both out. The result is
    calibration.json in the preset's folder, from where from_preset and exports take it.

    Copies of MERL-RAV that were cut out of AFLW have labels that are shifted a little, so they are
    moved onto the prediction first. That hides errors that shift or scale the whole face: look with
    --check-only --no-register at a data set with exact labels, such as ibug_300w.
    """
    from rich.console import Console

    from keras_facealign.calibration import (
        fit_calibration,
        weights_fingerprint,
        write_calibration,
    )
    from keras_facealign.calibration.quality import measure
    from keras_facealign.data.catalog import load
    from keras_facealign.data.partition import take_part
    from keras_facealign.presets import find_preset, from_preset
    from keras_facealign.storage.preset_folders import CALIBRATION

    if part not in ("all", "validation"):
        raise FaceAlignError(f"There is no part {part!r} to check on; choose all or validation.")
    if part != "all" and not check_only:
        raise FaceAlignError(f"--part {part} goes with --check-only; add it, or leave it out.")
    console = Console()
    folder = find_preset(preset)
    model = from_preset(folder)
    skipped: list[str] = []

    def look(wanted: str) -> Observations:
        faces = load(data_set, data, split, on_skip=lambda error: skipped.append(str(error)))
        if wanted != "all":
            faces = take_part(faces, wanted)
        without = model.scheme.regions["jaw"] if without_jaw else ()
        return _look(model, faces, limit, views, register, seed, wanted, console, without)

    if check_only:
        calibration = model.calibration
        if calibration is None:
            raise FaceAlignError(
                f"Preset {folder.name!r} is not calibrated; run the command without --check-only."
            )
        checked_on = f"{data_set} {split}" + ("" if part == "all" else f", part for {part}")
        seen = look(part)
    else:
        # The calibration that the preset may have had plays no part.
        model.calibration = None
        fitted = look("calibration")
        words = (
            f"{data_set} {split}, part to calibrate on: {fitted.faces} faces, "
            f"{len(fitted.spread)} views{', labels registered' if register else ''}"
            f"{', errors of the jaw left out' if without_jaw else ''}"
        )
        calibration = fit_calibration(fitted, words, weights_fingerprint(model))
        seen = look("validation")
        checked_on = f"{data_set} {split}, part to validate on"
    quality = measure(calibration, seen)
    if not check_only:
        write_calibration(calibration, folder / CALIBRATION)
    title = f"{folder.name} on {checked_on}"
    for table in quality.to_tables(title):
        console.print(table)
    if report is not None:
        _write(report, quality, title, {"fitted_on": calibration.fitted_on})
        console.print(f"The report is in {report}", markup=False, highlight=False, soft_wrap=True)
    if not check_only:
        path = folder / CALIBRATION
        console.print(f"Wrote {path}", markup=False, highlight=False, soft_wrap=True)
    for line in dict.fromkeys(skipped):
        typer.echo(f"skipped: {line}", err=True)


def _look(
    model: Any,
    faces: Any,
    limit: int | None,
    views: int,
    register: bool,
    seed: int,
    part: str,
    console: Any,
    without: tuple[int, ...],
) -> Observations:
    from itertools import islice

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from keras_facealign.evaluation.collect_predictions import observe

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console) as progress:
        # Which part a face belongs to is known when it is read, so their number only at the end.
        task = progress.add_task(f"Faces to {_VERBS[part]}", total=limit)
        seen = observe(
            model,
            islice(faces, limit),
            views,
            register,
            seed,
            on_face=lambda: progress.advance(task),
            without=without,
        )
        progress.update(task, total=seen.faces, completed=seen.faces)
    return seen


_VERBS = {"calibration": "calibrate on", "validation": "validate on", "all": "look at"}


def _write(folder: Path, quality: Any, title: str, more: dict[str, Any]) -> None:
    import json

    from keras_facealign.calibration.plot import plot_quality

    folder.mkdir(parents=True, exist_ok=True)
    plot_quality(folder / "calibration.png", quality, title)
    text = json.dumps({"measured": title, **more, **quality.to_dict()}, indent=2)
    (folder / "quality.json").write_text(text + "\n", encoding="utf-8")
