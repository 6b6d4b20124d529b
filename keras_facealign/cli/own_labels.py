"""What the commands share about labels of one's own: reading, schemes, and the part to hold out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from keras_facealign.cli import _common as common
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import (
    IBUG68,
    LandmarkScheme,
    get_scheme,
    is_scheme_file,
    lines_of,
    numbered_scheme,
    read_scheme,
)

if TYPE_CHECKING:
    from keras_facealign.data.labels import LabelSet

# Endings by which a file that is not there is known to be meant.
_LABEL_FILES = (".json", ".csv", ".xml")
# Share of the faces that is held out, of small sets and of larger ones.
_SMALL, _SHARES = 200, (0.2, 0.1)


def is_own(path: Path) -> bool:
    """Whether a path is that of labels of one's own, not of a known data set's folder."""
    if not path.is_dir():
        return path.is_file() or path.suffix.lower() in _LABEL_FILES
    from keras_facealign.data.labels import guess_kind
    from keras_facealign.data.readers import ibug_300w

    if ibug_300w.survey(path).found:
        return False
    try:
        guess_kind(path)
    except FaceAlignError:
        return False
    return True


def refuse_reading(reading: Mapping[str, Any]) -> None:
    """Raises an error for options of own labels that are given with a known data set."""
    given = next((name for name, value in reading.items() if value is not None), None)
    if given is not None:
        option = "--one-based" if given == "one_based" else f"--{given}"
        raise FaceAlignError(f"{option} is for labels of your own; leave it out")


def load_labels(
    paths: Sequence[Path], reading: Mapping[str, Any] = MappingProxyType({})
) -> list[LabelSet]:
    """Loads label files or folders, and prints what they hold.

    Args:
        paths: The files or folders.
        reading: `kind`, `images`, `one_based` and `units` as of `keras_facealign.data.load`.

    Raises:
        FaceAlignError: If one cannot be read, or they have different numbers or names of landmarks.
    """
    from keras_facealign.data import load

    sets = []
    for path in paths:
        # The boxes of labeling tools have any meaning; those of the points have one.
        labels = load(path, boxes="points", **reading)
        common.say(labels.describe())
        first = sets[0] if sets else labels
        if labels.num_landmarks != first.num_landmarks:
            raise FaceAlignError(
                f"{path} has {labels.num_landmarks} landmarks, but {first.path} has "
                f"{first.num_landmarks}; use one landmark scheme at a time"
            )
        if labels.names and first.names and labels.names != first.names:
            raise FaceAlignError(
                f"{path} has other names of landmarks than {first.path}, or another order; use one "
                "landmark scheme at a time"
            )
        sets.append(labels)
    return sets


def find_scheme(given: str | None) -> LandmarkScheme | None:
    """Returns the scheme of an option: that of a file, or a known one by its name."""
    if given is None:
        return None
    return read_scheme(given) if is_scheme_file(given) else get_scheme(given)


def scheme_for(labels: LabelSet, given: LandmarkScheme | None) -> LandmarkScheme:
    """Returns the scheme of labels: the given one, or what they tell about themselves.

    Raises:
        FaceAlignError: If the given one has another number of landmarks or other names.
    """
    count = labels.num_landmarks
    if given is None:
        if count == IBUG68.num_landmarks and not labels.names:
            return IBUG68
        plain = numbered_scheme(count)
        if not labels.names and not labels.edges:
            return plain
        lines = lines_of(labels.edges or ())
        return replace(plain, name=f"own{count}", names=labels.names, lines=lines)
    if given.num_landmarks != count:
        raise FaceAlignError(
            f"Scheme {given.name!r} has {given.num_landmarks} landmarks, but {labels.path} has "
            f"{count}; give another --scheme"
        )
    if given.names and labels.names and given.names != labels.names:
        pairs = enumerate(zip(given.names, labels.names, strict=True))
        wrong = next(k for k, (one, other) in pairs if one != other)
        raise FaceAlignError(
            f"Landmark {wrong} is {given.names[wrong]!r} in scheme {given.name!r}, but "
            f"{labels.names[wrong]!r} in {labels.path}; give another --scheme"
        )
    return given


def examples(
    labels: LabelSet, scheme: LandmarkScheme, skipped: list[str], input_size: int | None = None
) -> Iterator[Any]:
    """Reads faces with the boxes that the scheme crops them by.

    Args:
        labels: The labels.
        scheme: Their scheme.
        skipped: Gets the messages about faces that cannot be used.
        input_size: Side of the network's input, to keep only what training needs of large photos.
    """
    from keras_facealign.data.compact import compact
    from keras_facealign.geometry import landmarks_box

    def note(error: FaceAlignError) -> None:
        skipped.append(common.one_line(error))

    for error in labels.unusable:
        note(error)
    for face in labels.examples(on_skip=note):
        box = scheme.crop_box(landmarks_box(face.landmarks, face.visibility))
        face = replace(face, box=box)
        yield face if input_size is None else compact(face, input_size)


def groups_of(labels: LabelSet) -> list[str]:
    """The group of each face: its person or group where the labels tell it, else its picture."""
    return [
        f"group {face.group}" if face.group is not None else face.file_name for face in labels.faces
    ]


def hold_out(labels: LabelSet) -> tuple[LabelSet, LabelSet]:
    """Divides labels into faces to train on and to validate on, and prints how.

    Persons or groups, where the labels tell them, and pictures are kept together.

    Raises:
        FaceAlignError: If there are not enough pictures.
    """
    from keras_facealign.data.partition import split_groups

    groups = groups_of(labels)
    share = _SHARES[len(groups) > _SMALL]
    train, held = split_groups(groups, share)
    if not held:
        raise FaceAlignError(
            f"{labels.path}: all faces are of one {'group' if labels.groups else 'picture'}, so "
            "none can be held out; give --validation"
        )
    kept = "by group" if labels.groups else "by picture"
    common.say(f"Holding {common.count(len(held), 'face')} of {len(groups)} out, {kept}")
    return labels.select(train), labels.select(held)
