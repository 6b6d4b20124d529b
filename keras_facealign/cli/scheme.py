"""`keras-facealign scheme`: guesses the scheme of own landmarks and draws it for confirmation."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_facealign.cli import _common as common
from keras_facealign.cli.own_labels import load_labels, refuse_reading
from keras_facealign.cli.quiet import import_keras
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks.scheme_files import SCHEME_SUFFIXES, write_scheme

if TYPE_CHECKING:
    from keras_facealign.training.own_landmarks import SchemeGuess

# Faces of a known data set whose labels are averaged.
_MOST = 500


def scheme(
    labels: Annotated[Path, typer.Argument()],
    output: Annotated[Path, typer.Option("--output", "-o")],
    from_preset: Annotated[str | None, typer.Option(show_default=False)] = None,
    name: Annotated[str | None, typer.Option(show_default=False)] = None,
    data_set: Annotated[str | None, typer.Option(show_default=False)] = None,
    split: str = "train",
    kind: common.LabelKind = None,
    images: common.LabelImages = None,
    one_based: common.OneBased = None,
    units: common.LabelUnits = None,
) -> None:
    """Guess what your landmarks mean: mirror pairs, parts of the face, and lines.

    Writes the scheme as YAML or JSON, and beside it a picture (.png) of the mean shape with
    numbers, lines and mirror pairs. Look at the picture, correct the file, and give it to train
    --scheme. Pairs are found on the mirrored mean shape, or by "left" and "right" in the names;
    those marked "look" may be wrong.

    Args:
        labels: Label file, or folder of pictures with label files beside them.
        output: The scheme's file: .yaml, .yml or .json.
        from_preset: Trained preset, by name or folder, that finds the faces: it tells the corners
            of the eyes, the parts of the face where the labels do not, and the box of the face.
        name: Name of the scheme; default: the name of the file.
        data_set: Name of a known data set, if the labels are one in its official layout.
        split: Its split.
    """
    common.check_output_file(output, *SCHEME_SUFFIXES)
    import_keras()
    from keras_facealign.evaluation.plots import save_png
    from keras_facealign.evaluation.scheme_figure import scheme_figure
    from keras_facealign.training.own_landmarks import find_known_landmarks, guess_scheme

    skipped: list[str] = []
    reading = {"kind": kind, "images": images, "one_based": one_based, "units": units}
    if data_set is None:
        (found,) = load_labels([labels], reading)
        skipped += [common.one_line(error) for error in found.unusable]
        faces: Any = found
    else:
        refuse_reading(reading)
        found, faces = _known_faces(labels, data_set, split, skipped)
    known = None
    if from_preset is not None:
        from keras_facealign.presets import from_preset as load_preset

        known = find_known_landmarks(load_preset(from_preset), faces)
        usable = int(known.usable.sum())
        common.say(f"{from_preset} finds the face in {usable} of {len(known.usable)} pictures")
    guess = guess_scheme(found, name or output.stem, known)
    write_scheme(guess.scheme, output)
    figure = scheme_figure(guess.scheme, guess.shape, guess.flips)
    picture = save_png(figure, output.with_suffix(".png"))
    _report(guess)
    common.list_skipped(skipped)
    common.say(f"Wrote {output} and {picture}; look at both before you train with them")


@dataclass(frozen=True)
class _Labels:
    """Labels of a known data set, as far as a scheme is guessed from them."""

    faces: list[Any]
    num_landmarks: int
    names: None = None
    edges: None = None


def _known_faces(path: Path, data_set: str, split: str, skipped: list[str]) -> tuple[Any, Any]:
    """Labels of a known data set, and examples with pictures."""
    faces = list(islice(common.load_faces(data_set, path, split, skipped), _MOST))
    count = len(faces[0].landmarks)
    if any(len(face.landmarks) != count for face in faces):
        raise FaceAlignError(f"{path}: the faces have different numbers of landmarks")
    return _Labels(faces, count), faces


def _report(guess: SchemeGuess) -> None:
    """Prints the guesses."""
    from rich.table import Table

    scheme = guess.scheme
    names = scheme.point_names
    table = Table(title=f"{scheme.name}: {scheme.num_landmarks} landmarks")
    for heading in ("landmark", "mirrored", "sure", ""):
        table.add_column(heading)
    for flip in guess.flips:
        a, b = flip.points
        other = "itself" if a == b else f"{b} {names[b]}"
        table.add_row(
            f"{a} {names[a]}", other, f"{flip.confidence:.2f}", "look" if flip.doubtful else ""
        )
    common.print_tables(table)
    doubtful = [flip.points for flip in guess.flips if flip.doubtful]
    common.say(
        f"{common.count(len(scheme.flip_pairs), 'mirror pair')}, of which "
        f"{sum(a != b for a, b in doubtful)} doubtful; parts: "
        + ", ".join(f"{part} ({len(points)})" for part, points in scheme.regions.items())
    )
    if scheme.eye_corners is None:
        common.say("Errors are relative to the size of the box: no corners of the eyes are known")
    else:
        right, left = scheme.eye_corners
        common.say(f"Errors are relative to the distance of {names[right]} and {names[left]}")
