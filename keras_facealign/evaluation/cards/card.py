"""Model cards: what a preset is, how it was made, how good it is, and where it fails.

A card is `README.md` in the preset's folder, written from the preset's own files: what they do not
say is not in the card. Beside it lies `card.png`, with faces that are drawn, turned and disturbed,
and what the network makes of them.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation.cards.figure import draw_strip, palette_png
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
from keras_facealign.evaluation.cards.trials import FAILED, THE_HARD, Row, try_preset
from keras_facealign.presets.registry import (
    CALIBRATION,
    CONFIG,
    METADATA,
    WEIGHTS,
    _read_json,
    find_preset,
    from_preset,
    preset_architecture,
)

if TYPE_CHECKING:
    from keras_facealign.networks import Architecture

__all__ = ["CARD", "FIGURE", "card_text", "write_card"]

CARD, FIGURE = "README.md", "card.png"

_FILES = {
    CONFIG: "family and architecture",
    METADATA: "description and metrics",
    WEIGHTS: "weights",
    CALIBRATION: "what makes standard deviations and visibility of heatmaps",
    "model.tflite": "exported network for LiteRT",
    "model_int8.tflite": "the same with 8-bit integers",
}
# The first comes first, groups of other names follow, and then the others.
_SECTIONS = {"validation": "Accuracy", "calibration": "Calibration", "average": "Averaged weights"}


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
        figure: Whether to draw `card.png` beside it and say what it shows. A preset without weights
            has none.
        photo: A photo of a face that the figure turns and disturbs, beside drawn faces. Default:
            `examples/astronaut.jpg` in a source tree, none in an installed package.
        head_model: ICT-FaceKit's head, see `keras_facealign.data.face_profiling.load_model`, to lay
            the photo over. Default: a head made from the mean face.

    Returns:
        The files written.

    Raises:
        FaceAlignError: If the preset is unknown or damaged, or a file cannot be used.

    Example:
        >>> write_card("runs/mine/preset")  # doctest: +SKIP
        [PosixPath('runs/mine/preset/card.png'), PosixPath('runs/mine/preset/README.md')]
    """
    from keras_facealign.storage.atomic import atomic_write

    folder = find_preset(preset)
    card = folder / CARD if output is None else Path(output)
    card.parent.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    written = []
    command = f"keras-facealign card {shlex.quote(_name(folder, preset))}"
    if not figure:
        command += " --no-figure"
    elif (folder / WEIGHTS).is_file():
        shown = _portrait() if photo is None else Path(photo)
        if head_model is not None and shown is None:
            raise FaceAlignError("A head model needs a photo to be laid under; give one.")
        model = from_preset(folder)
        rows = try_preset(model, _is_3d(folder), shown, head_model)
        packed = palette_png(draw_strip(rows, model.calibration is not None))
        written.append(atomic_write(card.with_name(FIGURE), lambda file: file.write(packed)))
        # Names alone, so that the card does not depend on where files lie.
        for option, path in (("photo", photo), ("head-model", head_model)):
            command += "" if path is None else f" --{option} {shlex.quote(Path(path).name)}"
    text = card_text(folder, _name(folder, preset), rows)
    whose = "; the photo is NASA's, in the public domain" if len(rows) > 2 and not photo else ""
    text += f"\nWritten by {code(command)}{whose}.\n"
    written.append(atomic_write(card, lambda file: file.write(text.encode())))
    return written


def card_text(folder: Path, name: str, rows: Sequence[Row] = ()) -> str:
    """The card, in Markdown.

    Args:
        folder: The preset's.
        name: What loads it.
        rows: What `try_preset` found; nothing is said of none.

    Returns:
        Text that ends in a line break.

    Raises:
        FaceAlignError: If a file of the preset is damaged.
    """
    about = _metadata(folder)
    trained = (folder / WEIGHTS).is_file()
    parts = [f"# {escape(folder.name)}"]
    if about.get("description"):
        parts.append(escape(about["description"]))
    if not trained:
        parts.append("**This preset is an architecture: it has no trained weights.**")
    parts += _use(name, trained, (folder / CALIBRATION).is_file())
    parts += ["## Network", table(_network(about, folder, preset_architecture(folder)))]
    parts += _training(about)
    parts += _metrics(about, folder)
    parts += ["## Files", table(_files(folder), ("file", "size", "content"))]
    parts += _limits(about, rows)
    if rows:
        parts += _failures(rows, _is_3d(folder))
    return "\n\n".join(parts) + "\n"


def _name(folder: Path, given: str | Path) -> str:
    """What loads the preset: its name alone if it is a bundled one, whatever the path was."""
    try:
        bundled = find_preset(folder.name).resolve() == folder.resolve()
    except FaceAlignError:
        bundled = False
    return folder.name if bundled else str(given)


def _portrait() -> Path | None:
    """NASA's portrait of an astronaut, in the public domain, where the source tree is at hand."""
    path = Path(__file__).resolve().parents[2] / "examples" / "astronaut.jpg"
    return path if path.is_file() else None


def _metadata(folder: Path) -> dict[str, Any]:
    return _read_json(folder / METADATA) if (folder / METADATA).is_file() else {}


def _is_3d(folder: Path) -> bool:
    """Whether landmarks are projections of points of the head, hidden ones and the jaw too."""
    said = str(_metadata(folder).get("landmarks", ""))
    return bool(re.search(r"\b3D\b", said)) or folder.name.endswith("_3d")


def _use(name: str, trained: bool, calibrated: bool) -> list[str]:
    quoted = json.dumps(name, ensure_ascii=False)
    if not trained:
        return [
            block(
                "from keras_facealign.presets import from_preset\n\n"
                f"model = from_preset({quoted}, load_weights=False)",
                "python",
            )
        ]
    more = ", faces[0].sigma, faces[0].visibility" if calibrated else ", faces[0].confidence"
    return [
        block(
            "from keras_facealign import FaceAligner\n\n"
            f'faces = FaceAligner.from_preset({quoted}).align("photo.jpg")\n'
            f"print(faces[0].landmarks{more})",
            "python",
        )
    ]


def _network(about: dict[str, Any], folder: Path, built: Architecture) -> list[tuple[str, str]]:
    family = str(_read_json(folder / CONFIG)["class_name"])
    shape = f"{built.stacks} × {built.topology}, depth {built.depth}, {built.block} blocks"
    rows = [
        ("Family", code(family, in_table=True)),
        ("Architecture", escape(f"{shape}, width {built.width:g}, {built.stem} stem")),
        ("Input", f"{built.input_size} × {built.input_size} pixels, RGB: a face's crop"),
        ("Heatmaps", f"{built.map_size} × {built.map_size}"),
        ("Landmarks", escape(about.get("landmarks", built.num_landmarks))),
    ]
    for key, title, form in (
        ("parameters", "Parameters", "{}"),
        ("gflops", "Forward pass", "{} GFLOP (a multiply-add is two)"),
    ):
        if about.get(key) is not None:
            rows.append((title, form.format(number(about[key]))))
    return rows


def _training(about: dict[str, Any]) -> list[str]:
    """What training says of itself: known facts first, then all that are no group of metrics."""
    known: dict[str, tuple[str, Callable[[Any], str]]] = {
        "trained_on": ("Data", escape),
        "license": ("License of data and weights", escape),
        "recipe": ("Recipe", lambda text: code(text, in_table=True)),
        "training_minutes": ("Time", _minutes),
    }
    elsewhere = {
        *known,
        *("description", "landmarks", "parameters", "gflops", "limits", "validation_nme"),
    }
    rows = [
        (title, form(about[key]))
        for key, (title, form) in known.items()
        if about.get(key) is not None
    ]
    rows += facts(
        {
            key: value
            for key, value in about.items()
            if key not in elsewhere and not _is_group(value)
        }
    )
    return ["## Training", table(rows)] if rows else []


def _minutes(value: Any) -> str:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return escape(value)
    return f"{value:.0f} minutes" if value < 120 else f"{value / 60:.1f} hours"


def _is_group(value: Any) -> bool:
    members = value if isinstance(value, list) else [value]
    return bool(members) and all(isinstance(member, dict) for member in members)


def _metrics(about: dict[str, Any], folder: Path) -> list[str]:
    """A section for each group of metrics; the calibration's own file counts as one."""
    groups = {key: value for key, value in about.items() if _is_group(value)}
    parts = []
    if about.get("validation_nme") is not None and "validation" not in groups:
        rows = [("NME on the validation set, %", number(about["validation_nme"]))]
        parts += ["## Accuracy", table(rows)]
    if (folder / CALIBRATION).is_file():
        groups.setdefault("calibration", {})
    last = list(_SECTIONS)[1:]
    for key in sorted(
        groups, key=lambda key: (key != "validation", last.index(key) if key in last else -1)
    ):
        value, title = groups[key], _SECTIONS.get(key) or label(key)
        parts += section(title, value if isinstance(value, dict) else {})
        if key == "calibration" and (folder / CALIBRATION).is_file():
            parts.append(_calibration(folder / CALIBRATION))
        for index, member in enumerate(value if isinstance(value, list) else []):
            rest = dict(member)
            parts += section(escape(rest.pop("name", f"No. {index + 1}")), rest, level=3)
    return parts


def _calibration(path: Path) -> str:
    from keras_facealign.calibration import read_calibration

    values = read_calibration(path)
    rows = [
        ("Fitted on", escape(values.fitted_on)),
        ("Standard deviation, pixels of the crop", _range(values.sigmas)),
        ("Factors of single landmarks", _range(values.factors)),
    ]
    return table(row for row in rows if row[1])


def _range(values: Any) -> str:
    return f"{min(values):.3g} to {max(values):.3g}"


def _files(folder: Path) -> list[tuple[str, str, str]]:
    """What lies in the folder, but the card itself; known files first."""
    order = list(_FILES)
    names = sorted(
        (path.name for path in folder.iterdir() if path.is_file()),
        key=lambda name: (order.index(name) if name in order else len(order), name),
    )
    return [
        (code(name, in_table=True), _size((folder / name).stat().st_size), _FILES.get(name, ""))
        for name in names
        if name not in (CARD, FIGURE) and not name.startswith(".")
    ]


def _size(count: int) -> str:
    if count < 1e6:
        return f"{count / 1e3:.1f} kB"
    return f"{count / 1e6:.1f} MB"


def _limits(about: dict[str, Any], rows: Sequence[Row]) -> list[str]:
    """What the metadata says of limits, and what the pictures show."""
    given = about.get("limits", [])
    lines = [escape(line) for line in (given if isinstance(given, list) else [given])]
    if rows:
        failed = []
        for row in rows:
            beyond = [
                f"{one.trial.what} ({one.error:.1f} %)"
                for one in row.outcomes
                if one.error is not None and one.error > FAILED
            ]
            if beyond:
                failed.append(f"{row.heading.lower()}: {', '.join(beyond)}")
        size = f"{FAILED:g} % of the face's size"
        lines.append(
            f"Mean errors above {size} in the pictures below: {'; '.join(failed)}."
            if failed
            else f"In none of the pictures below the mean error exceeds {size}."
        )
    return ["## Known limits", "\n".join(f"- {line}" for line in lines)] if lines else []


def _failures(rows: Sequence[Row], deep: bool) -> list[str]:
    """The figure, in words and numbers."""
    count = (
        "All 68 landmarks count, hidden ones too."
        if deep
        else "On turned heads the landmarks count that lie within the face and can be seen: labels "
        "in 2D have the jaw along the visible outline, and none of what is hidden."
    )
    text = (
        "The figure has faces that are drawn by code, laid over a head and turned, and faces that "
        "are disturbed. Errors are the mean distance of the landmarks from their true places, in "
        "percent of the root of the area of the box around these. They tell what the network "
        f"cannot do rather than how accurate it is on photos. {count} {THE_HARD}"
    )
    if len(rows) > 2:
        text += (
            " The photo has no labels: what the network finds in the untouched picture, laid on "
            "the head under it, stands for the truth."
        )
    parts = ["## Failure cases", f"![Landmarks found in drawn and turned faces]({FIGURE})", text]
    for kind in ("turned", "disturbed"):
        some = [row for row in rows if row.heading.endswith(kind)]
        # A photo's first picture is the reference, where drawn faces have a yaw of 0.
        head = ["error, %", *(one.trial.what for one in some[0].outcomes)]
        cells = [
            [row.heading.partition(",")[0], *(_error(one.error) for one in row.outcomes)]
            for row in some
        ]
        parts.append(table(cells, head))
    return parts


def _error(value: float | None) -> str:
    if value is None:
        return "–"
    return f"**{value:.1f}**" if value > FAILED else f"{value:.1f}"
