"""The faces that `keras-facealign train` trains on: of known data sets, or with own labels."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from keras_facealign.cli import _common as common
from keras_facealign.cli.own_labels import (
    examples,
    find_scheme,
    hold_out,
    is_own,
    load_labels,
    refuse_reading,
    scheme_for,
)
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import (
    IBUG68,
    LandmarkScheme,
    is_scheme_name,
    numbered_scheme,
    scheme_of_size,
)

if TYPE_CHECKING:
    from keras_facealign.data.labels import LabelSet
    from keras_facealign.training.own_landmarks import KnownLandmarks

# Of few faces, an epoch is as many passes as make these steps.
_STEPS = 20


@dataclass
class TrainingFaces:
    """Faces to train and to validate on.

    Args:
        scheme: Scheme of their landmarks.
        title: What they are, for the preset's description.
        labels: Sets of own labels to train on; none for known data sets.
        validation: Own labels to validate on.
        stream: Examples of known data sets.
        held_stream: Examples of them to validate on, or None.
        skipped: Gets the messages about faces that cannot be used.
    """

    scheme: LandmarkScheme
    title: str
    skipped: list[str]
    labels: list[LabelSet] = field(default_factory=list)
    validation: list[LabelSet] = field(default_factory=list)
    stream: Iterator[Any] = field(default_factory=lambda: iter(()))
    held_stream: Iterator[Any] | None = None
    _trained_on: set[int] = field(default_factory=set)

    def train(self, input_size: int) -> Iterator[Any]:
        """The examples to train on; those of known data sets only once."""
        faces = self._examples(self.labels, input_size) if self.labels else self.stream
        for face in faces:
            self._trained_on.add(_key(face))
            yield face

    def held_out(self, input_size: int) -> Iterator[Any] | None:
        """The examples to validate on, or None.

        Those that have been trained on are counted, and the number is printed after the last.
        """
        if self.labels:
            faces = self._examples(self.validation, input_size) if self.validation else None
        else:
            faces = self.held_stream
        return None if faces is None else self._compared(faces)

    def _compared(self, faces: Iterator[Any]) -> Iterator[Any]:
        known = count = 0
        for face in faces:
            known += _key(face) in self._trained_on
            count += 1
            yield face
        if known:
            common.say(
                f"{known} of {common.count(count, 'face')} to validate on are trained on too: the "
                "validation's NME does not hold for other faces; choose another --validation",
                err=True,
            )

    @property
    def validates(self) -> bool:
        """Whether there are faces to validate on."""
        return bool(self.validation) or self.held_stream is not None

    def sample(self, count: int) -> list[Any]:
        """The first faces to train on, which stay there."""
        if self.labels:
            return list(islice(self._examples(self.labels, None), count))
        first = list(islice(self.stream, count))
        self.stream = chain(first, self.stream)
        return first

    def _examples(self, labels: list[LabelSet], input_size: int | None) -> Iterator[Any]:
        return chain.from_iterable(
            examples(each, self.scheme, self.skipped, input_size) for each in labels
        )


def _key(face: Any) -> int:
    """Tells a face from others, by its picture's name and its landmarks."""
    return hash((Path(face.file_name).name, face.landmarks.round(2).tobytes()))


def open_faces(
    paths: list[Path],
    data_sets: list[str] | None,
    splits: list[str] | None,
    validation: str | None,
    scheme: str | None,
    skipped: list[str],
    reading: Mapping[str, Any] = MappingProxyType({}),
) -> TrainingFaces:
    """Opens what the options of `train` name.

    Raises:
        FaceAlignError: If something is missing, or does not fit.
    """
    given = find_scheme(scheme)
    own = data_sets is None and splits is None and all(_is_plain(path) for path in paths)
    if own and (validation in (None, "none") or Path(str(validation)).exists()):
        return _own_faces(paths, validation, given, skipped, reading)
    refuse_reading(reading)
    names = data_sets or ["pts_folder" if is_own(path) else "ibug_300w" for path in paths]
    sources = _sources(paths, names, splits or ["train"])
    stream = chain.from_iterable([common.load_faces(*source, skipped) for source in sources])
    first = next(stream)
    held = None
    if validation != "none":
        held = common.load_faces(*sources[0][:2], validation or "lfpw_test", skipped)
    count = len(first.landmarks)
    if given is not None and given.num_landmarks != count:
        raise FaceAlignError(
            f"Scheme {given.name!r} has {given.num_landmarks} landmarks, but {first.file_name} has "
            f"{count}; give another --scheme"
        )
    return TrainingFaces(
        given or _scheme_of(count, "pts_folder" in names),
        ", ".join(f"{name} {part}" for name, _, part in sources),
        skipped,
        stream=chain([first], stream),
        held_stream=held,
    )


def _is_plain(path: Path) -> bool:
    """Whether these are own labels without splits in subfolders."""
    return is_own(path) and not (path / "train").is_dir()


def _own_faces(
    paths: list[Path],
    validation: str | None,
    given: LandmarkScheme | None,
    skipped: list[str],
    reading: Mapping[str, Any],
) -> TrainingFaces:
    sets = load_labels(paths, reading)
    held: list[LabelSet] = []
    if validation is None:
        divided = [hold_out(labels) for labels in sets]
        sets, held = [train for train, _ in divided], [part for _, part in divided]
    elif validation != "none":
        held = load_labels([Path(validation)], reading)
        if held[0].num_landmarks != sets[0].num_landmarks:
            raise FaceAlignError(
                f"{validation} has {held[0].num_landmarks} landmarks, but {paths[0]} has "
                f"{sets[0].num_landmarks}; use one landmark scheme at a time"
            )
    faces = sum(len(labels) for labels in sets)
    title = f"{', '.join(path.name for path in paths)} ({common.count(faces, 'face')})"
    return TrainingFaces(scheme_for(sets[0], given), title, skipped, sets, held)


def _scheme_of(num_landmarks: int, own: bool) -> LandmarkScheme:
    """The scheme of the faces; that of a user's own landmarks is unknown unless there are 68."""
    known = scheme_of_size(num_landmarks)
    if known is None or (own and known is not IBUG68):
        return numbered_scheme(num_landmarks)
    return known


def _sources(
    data: list[Path], data_sets: list[str], splits: list[str]
) -> list[tuple[str, Path, str]]:
    """Combines the options to data sets; a single name or split is used for all folders."""
    for option, values in (("--data-set", data_sets), ("--split", splits)):
        if len(values) not in (1, len(data)):
            raise FaceAlignError(
                f"{option} is given {len(values)} times for {len(data)} --data; give one for each"
            )
    names, parts = (
        values * (len(data) if len(values) == 1 else 1) for values in (data_sets, splits)
    )
    return list(zip(names, data, parts, strict=True))


def transferred(start: str, faces: TrainingFaces) -> Any:
    """Gives a trained preset the landmarks of the faces, and prints what they start from.

    The scheme of the faces gets the box that the preset is used to, if it lacks one.
    """
    from keras_facealign.models.devices import process_place
    from keras_facealign.models.transfer import known_mapping, with_landmarks
    from keras_facealign.presets import from_preset
    from keras_facealign.training.own_landmarks import FACES, find_known_landmarks
    from keras_facealign.training.processes import own_devices, share_bytes

    scheme, count = faces.scheme, faces.scheme.num_landmarks
    with own_devices():
        model = from_preset(start)
        mapping = known_mapping(model.scheme, scheme)
        known = None
        if scheme != model.scheme and not (mapping and is_scheme_name(scheme.name)):
            known = find_known_landmarks(model, faces.sample(FACES))
    if scheme == model.scheme:
        return model if process_place()[1] == 1 else from_preset(start)
    if known is not None:
        _say_found(known, start)
        # Of processes that train together the first decides: other machines may round otherwise.
        found = [list(known.mapping().items()), known.face_box()]
        pairs, box = json.loads(share_bytes(json.dumps(found).encode()))
        mapping = mapping or dict(pairs)
        if scheme.face_box is None and box is not None:
            name = f"own{count}" if is_scheme_name(scheme.name) else scheme.name
            faces.scheme = replace(scheme, name=name, face_box=tuple(box))
            common.say(f"Faces are cropped by {box} times the box of the landmarks")
    common.say(
        f"{len(mapping)} of {count} landmarks start from known ones of {start}, "
        f"{count - len(mapping)} untrained"
    )
    return with_landmarks(model, faces.scheme, mapping=mapping)


def _say_found(known: KnownLandmarks, start: str) -> None:
    usable = int(known.usable.sum())
    if 2 * usable < len(known.usable):
        common.say(
            f"{start} finds a face in {usable} of {len(known.usable)} pictures only; check the "
            "labels",
            err=True,
        )


def batches_of(faces: TrainingFaces, model: Any, config: Any, boxes: Any) -> tuple[Any, Any | None]:
    """Makes batches to train and to validate on; of few faces, an epoch is several passes."""
    from keras_facealign.data.batches import BoxJitter, FaceBatches
    from keras_facealign.models.devices import process_place

    size = model.input_size
    found = list(faces.train(size))
    passes = max(1, math.ceil(_STEPS * config.batch_size / max(len(found), 1)))
    jitter = BoxJitter() if config.jitter else None
    place = process_place()
    train = FaceBatches(
        found * passes, config.batch_size, size, True, jitter, config.seed, boxes, shard=place
    )
    held = faces.held_out(size)
    if held is None:
        return train, None
    return train, FaceBatches(held, config.batch_size, size, shard=place)
