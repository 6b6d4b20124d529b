"""Writes model cards: what a preset is, how it was made, how accurate it is, and where it fails.

A card is `README.md` in the preset's folder, written from the preset's own files: what they do not
contain is not in the card. `card.png` in the same folder shows faces that are drawn, turned and
disturbed, and the landmarks that the network finds on them.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation.cards.figure import draw_trials, palette_png
from keras_facealign.evaluation.cards.markdown import (
    block,
    code,
    escape,
    facts,
    label,
    number,
    section,
    table,
)
from keras_facealign.evaluation.cards.trials import (
    CORRUPTION_STRENGTHS,
    FAILED,
    Trial,
    try_preset,
)
from keras_facealign.presets import find_preset, from_preset, preset_architecture
from keras_facealign.storage.atomic import atomic_write
from keras_facealign.storage.json_files import read_json_object
from keras_facealign.storage.preset_folders import CALIBRATION, CONFIG, METADATA, WEIGHTS

if TYPE_CHECKING:
    from keras_facealign.networks import Architecture

CARD, FIGURE = "README.md", "card.png"

_FILES = {
    CONFIG: "family and architecture",
    METADATA: "description and metrics",
    WEIGHTS: "weights",
    CALIBRATION: "what makes standard deviations and visibility of heatmaps",
    "model.tflite": "exported network for LiteRT",
    "model_int8.tflite": "the same with 8-bit integers",
}
# Titles of groups of metrics. Validation is first; calibration and average follow all others.
_SECTIONS = {"validation": "Accuracy", "calibration": "Calibration", "average": "Averaged weights"}
_ORDER = {"validation": -1, "calibration": 1, "average": 2}
_TRAINING = {
    "trained_on": "Data",
    "license": "License of data and weights",
    "recipe": "Recipe",
    "training_minutes": "Time",
}
_ELSEWHERE = {"description", "landmarks", "parameters", "gflops", "limits", "validation_nme"}

_FAILURES = (
    "The figure has faces that are drawn by code, laid over a head and turned, and faces that are "
    "disturbed. Errors are the mean distance of the landmarks from their true places, in percent "
    "of the root of the area of the box around these. They tell what the network cannot do rather "
    "than how accurate it is on photos. "
)
_COUNTED_2D = (
    "On turned heads the landmarks count that lie within the face and can be seen: labels in 2D "
    "have the jaw along the visible outline, and none of what is hidden. "
)
_COUNTED_3D = "All 68 landmarks count, hidden ones too. "
_PHOTO = (
    " The photo has no labels: what the network finds in the unchanged image, laid on the "
    "head under it, stands for the truth."
)


def write_card(
    preset: str | Path,
    output: str | Path | None = None,
    figure: bool = True,
    photo: str | Path | None = None,
    head_model: str | Path | None = None,
) -> list[Path]:
    """Writes the model card of a preset.

    Args:
        preset: A bundled preset's name, or a folder that `save_to_preset` wrote.
        output: The Markdown file. Default: `README.md` in the preset's folder.
        figure: Whether to draw `card.png` in the card's folder and describe it. A preset without
            weights has none.
        photo: A photo of a face that the figure turns and disturbs, in addition to drawn faces.
            Default: `examples/astronaut.jpg` in a source tree, none in an installed package.
        head_model: ICT-FaceKit's head, see `keras_facealign.data.face_profiling`, to lay the photo
            over. Default: a head made from the mean face.

    Returns:
        The files written.

    Raises:
        FaceAlignError: If the preset is unknown or damaged, or a file cannot be used.

    Example:
        >>> write_card("runs/mine/preset")  # doctest: +SKIP
        [PosixPath('runs/mine/preset/card.png'), PosixPath('runs/mine/preset/README.md')]
    """
    folder = find_preset(preset)
    card = folder / CARD if output is None else Path(output)
    card.parent.mkdir(parents=True, exist_ok=True)
    name = _name(folder, preset)
    rows: dict[str, list[Trial]] = {}
    written = []
    command = f"keras-facealign card {shlex.quote(name)}"
    if not figure:
        command += " --no-figure"
    elif (folder / WEIGHTS).is_file():
        shown = _portrait() if photo is None else Path(photo)
        if head_model is not None and shown is None:
            raise FaceAlignError("A head model needs a photo to lay over it; give one.")
        model = from_preset(folder)
        rows = try_preset(model, _is_3d(folder), shown, head_model)
        png = palette_png(draw_trials(rows, model.calibration is not None))
        written.append(atomic_write(card.with_name(FIGURE), lambda file: file.write(png)))
        # Names alone, so that the card does not depend on where files are.
        for option, path in (("photo", photo), ("head-model", head_model)):
            command += "" if path is None else f" --{option} {shlex.quote(Path(path).name)}"
    source = "; the photo is NASA's, in the public domain" if len(rows) > 2 and not photo else ""
    text = f"{card_text(folder, name, rows)}\nWritten by {code(command)}{source}.\n"
    written.append(atomic_write(card, lambda file: file.write(text.encode())))
    return written


def card_text(folder: Path, name: str, rows: Mapping[str, Sequence[Trial]] | None = None) -> str:
    """Builds the text of a card.

    Args:
        folder: The preset's folder.
        name: Name or path that loads it.
        rows: The result of `try_preset`, if the card has a figure.

    Returns:
        Markdown that ends in a line break.

    Raises:
        FaceAlignError: If a file of the preset is damaged.
    """
    about, trained = _metadata(folder), (folder / WEIGHTS).is_file()
    parts = [f"# {escape(folder.name)}"]
    if about.get("description"):
        parts.append(escape(about["description"]))
    if not trained:
        parts.append("**This preset is an architecture: it has no trained weights.**")
    parts.append(_usage(name, trained, (folder / CALIBRATION).is_file()))
    parts += ["## Network", table(_network(about, folder, preset_architecture(folder)))]
    if training := _training(about):
        parts += ["## Training", table(training)]
    parts += _metrics(about, folder / CALIBRATION)
    parts += ["## Files", table(_files(folder), ("file", "size", "content"))]
    limits = about.get("limits", [])
    limits = [escape(line) for line in (limits if isinstance(limits, list) else [limits])]
    if rows:
        limits.append(_failed(rows))
    if limits:
        parts += ["## Known limits", "\n".join(f"- {line}" for line in limits)]
    if rows:
        parts += _failures(rows, _is_3d(folder))
    return "\n\n".join(parts) + "\n"


def _name(folder: Path, given: str | Path) -> str:
    """Returns the name of a bundled preset, whatever the path was, and the path of others."""
    try:
        bundled = find_preset(folder.name).resolve() == folder.resolve()
    except FaceAlignError:
        bundled = False
    return folder.name if bundled else str(given)


def _portrait() -> Path | None:
    """Returns NASA's portrait of an astronaut, in the public domain, in a source tree."""
    path = Path(__file__).resolve().parents[3] / "examples" / "astronaut.jpg"
    return path if path.is_file() else None


def _metadata(folder: Path) -> dict[str, Any]:
    return read_json_object(folder / METADATA) if (folder / METADATA).is_file() else {}


def _is_3d(folder: Path) -> bool:
    """Whether landmarks are projections of points of the head, hidden ones and the jaw too."""
    landmarks = str(_metadata(folder).get("landmarks", ""))
    return bool(re.search(r"\b3D\b", landmarks)) or folder.name.endswith("_3d")


def _usage(name: str, trained: bool, calibrated: bool) -> str:
    quoted = json.dumps(name, ensure_ascii=False)
    lines = [
        "from keras_facealign.presets import from_preset\n",
        f"model = from_preset({quoted}, load_weights=False)",
    ]
    if trained:
        shown = "faces[0].sigma, faces[0].visibility" if calibrated else "faces[0].confidence"
        lines = [
            "from keras_facealign import FaceAligner\n",
            f'faces = FaceAligner.from_preset({quoted}).align("photo.jpg")',
            f"print(faces[0].landmarks, {shown})",
        ]
    return block("\n".join(lines), "python")


def _network(about: dict[str, Any], folder: Path, built: Architecture) -> list[tuple[str, str]]:
    shape = f"{built.stacks} × {built.topology}, depth {built.depth}, {built.block} blocks"
    rows = [
        ("Family", code(read_json_object(folder / CONFIG)["class_name"], in_table=True)),
        ("Architecture", escape(f"{shape}, width {built.width:g}, {built.stem} stem")),
        ("Input", f"{built.input_size} × {built.input_size} pixels, RGB: a face's crop"),
        ("Heatmaps", f"{built.map_size} × {built.map_size}"),
        ("Landmarks", escape(about.get("landmarks", built.num_landmarks))),
    ]
    if about.get("parameters") is not None:
        rows.append(("Parameters", number(about["parameters"])))
    if about.get("gflops") is not None:
        gflops = number(about["gflops"])
        rows.append(("Forward pass", f"{gflops} GFLOP (a multiply-add is two)"))
    return rows


def _training(about: dict[str, Any]) -> list[tuple[str, str]]:
    """Lists known facts about training first, then all others that are no group of metrics."""
    cells = {title: escape(about[k]) for k, title in _TRAINING.items() if about.get(k) is not None}
    if "Recipe" in cells:
        cells["Recipe"] = code(about["recipe"], in_table=True)
    minutes = about.get("training_minutes")
    if isinstance(minutes, (int, float)) and not isinstance(minutes, bool):
        cells["Time"] = f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
    known = {*_TRAINING, *_ELSEWHERE}
    others = {k: v for k, v in about.items() if k not in known and not _is_group(v)}
    return [*cells.items(), *facts(others)]


def _is_group(value: Any) -> bool:
    members = value if isinstance(value, list) else [value]
    return bool(members) and all(isinstance(member, dict) for member in members)


def _metrics(about: dict[str, Any], calibration: Path) -> list[str]:
    """Formats a section for each group of metrics; the calibration's file counts as one."""
    groups = {key: value for key, value in about.items() if _is_group(value)}
    if about.get("validation_nme") is not None:
        groups.setdefault("validation", {"nme_on_the_validation_set,_%": about["validation_nme"]})
    if calibration.is_file():
        groups.setdefault("calibration", {})
    parts = []
    for key in sorted(groups, key=lambda key: _ORDER.get(key, 0)):
        value, title = groups[key], _SECTIONS.get(key) or label(key)
        parts += section(title, value if isinstance(value, dict) else {})
        if key == "calibration" and calibration.is_file():
            parts.append(table(_calibration(calibration)))
        for index, member in enumerate(value if isinstance(value, list) else [], start=1):
            name = escape(member.get("name", f"No. {index}"))
            parts += section(name, {k: v for k, v in member.items() if k != "name"}, level=3)
    return parts


def _calibration(path: Path) -> list[tuple[str, str]]:
    from keras_facealign.calibration import read_calibration

    values = read_calibration(path)
    rows = [
        ("Fitted on", escape(values.fitted_on)),
        ("Standard deviation, pixels of the crop", values.sigmas),
        ("Factors of single landmarks", values.factors),
    ]
    texts = [(n, v if isinstance(v, str) else f"{min(v):.3g} to {max(v):.3g}") for n, v in rows]
    return [row for row in texts if row[1]]


def _files(folder: Path) -> list[tuple[str, str, str]]:
    """Lists what is in the folder, except for the card itself; known files first."""
    order = list(_FILES)
    paths = sorted(
        (path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")),
        key=lambda path: (order.index(path.name) if path.name in order else len(order), path.name),
    )
    rows = []
    for path in paths:
        if path.name not in (CARD, FIGURE):
            size = path.stat().st_size
            text = f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:.1f} MB"
            rows.append((code(path.name, in_table=True), text, _FILES.get(path.name, "")))
    return rows


def _failed(rows: Mapping[str, Sequence[Trial]]) -> str:
    """Names the trials whose error is too large."""
    failed = []
    for heading, trials in rows.items():
        large = [
            f"{trial.name} ({trial.error:.1f} %)"
            for trial in trials
            if trial.error is not None and trial.error > FAILED
        ]
        if large:
            failed.append(f"{heading.lower()}: {', '.join(large)}")
    limit = f"{FAILED:g} % of the face's size"
    if not failed:
        return f"In none of the images below does the mean error exceed {limit}."
    return f"Mean errors above {limit} in the images below: {'; '.join(failed)}."


def _failures(rows: Mapping[str, Sequence[Trial]], in_3d: bool) -> list[str]:
    """Describes the figure in words and numbers."""
    text = _FAILURES + (_COUNTED_3D if in_3d else _COUNTED_2D) + CORRUPTION_STRENGTHS
    parts = ["## Failure cases", f"![Landmarks found in drawn and turned faces]({FIGURE})"]
    parts.append(text + _PHOTO * (len(rows) > 2))
    for kind in ("turned", "disturbed"):
        some = {key: trials for key, trials in rows.items() if key.endswith(kind)}
        # The first row is of drawn faces: a photo's first image is a reference, not a yaw of 0.
        head = ["error, %", *(trial.name for trial in next(iter(some.values())))]
        cells = [
            [key.partition(",")[0], *(_error(trial.error) for trial in trials)]
            for key, trials in some.items()
        ]
        parts.append(table(cells, head))
    return parts


def _error(value: float | None) -> str:
    text = "–" if value is None else f"{value:.1f}"
    return f"**{text}**" if value is not None and value > FAILED else text
