"""Verification protocols: whose pairs they are, and the embeddings of their pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.data.npz import read_npz
from keras_facealign.data.readers import cfp, lfw
from keras_facealign.data.readers.image_pairs import ImagePair
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import crop_face, crop_matrix
from keras_facealign.ops.face_normalization import NORMALIZATION_MODES
from keras_facealign.recognition.embedder import Embedder
from keras_facealign.recognition.normalization import (
    UNRELIABLE,
    FaceNormalizer,
    normalize_face,
)
from keras_facealign.recognition.report import VerificationReport
from keras_facealign.storage.atomic import atomic_write

WHOLE_PICTURE = "picture"
"""The mode of pictures that are scaled to the crop as they are, without finding the face."""

VERIFICATION_MODES = (WHOLE_PICTURE, *NORMALIZATION_MODES)

_BATCH = 32
_MAX_BYTES = 2**33


@dataclass(frozen=True)
class VerificationProtocol:
    """Pairs of pictures in folds, one of which is left out at a time.

    Attributes:
        name: Its key in `VERIFICATION_PROTOCOLS`.
        title: Name of set and protocol.
        reader: Module of the data set.
        split: The reader's name of the pairs.
        person_depth: Folders from a picture up to its person's.
        published: What the paper's Table 3 has for large networks, one trained for each alignment:
            accuracy in percent.
    """

    name: str
    title: str
    reader: Any
    split: str
    person_depth: int
    published: Mapping[str, float]

    def load(
        self, root: str | os.PathLike[str], on_skip: Callable[[FaceAlignError], None] | None = None
    ) -> Iterator[ImagePair]:
        """Reads the pairs; `on_skip` is called with the error of each that cannot be used."""
        return self.reader.load_samples(root, self.split, on_skip=on_skip)

    def count(self, root: str | os.PathLike[str]) -> int:
        """Counts the pairs that the set's lists have.

        Raises:
            FaceAlignError: If the folder does not hold the set.
        """
        survey = self.reader.survey(root)
        if not survey.found.get(self.split):
            missing = "; ".join(survey.missing) or "the list of pairs"
            raise FaceAlignError(f"{root}: {self.title} is not there; missing: {missing}")
        return survey.found[self.split]

    def person(self, file_name: str) -> str:
        """Returns the folder of a picture's person."""
        return file_name.split("/")[-1 - self.person_depth]


def _published(*accuracies: float) -> dict[str, float]:
    return dict(zip(("no alignment", "5 points", "68 points, 3D"), accuracies, strict=True))


VERIFICATION_PROTOCOLS = {
    each.name: each
    for each in (
        VerificationProtocol("lfw", "LFW, View 2", lfw, "test", 1, _published(99.63, 99.78, 99.80)),
        VerificationProtocol("cfp_ff", "CFP, frontal with frontal", cfp, "ff", 2, {}),
        VerificationProtocol(
            "cfp_fp", "CFP, frontal with profile", cfp, "fp", 2, _published(95.43, 97.13, 98.51)
        ),
    )
}
"""Protocols by name."""


def get_verification_protocol(name: str) -> VerificationProtocol:
    """Returns a protocol by its name; raises `FaceAlignError` if there is none of that name."""
    if name not in VERIFICATION_PROTOCOLS:
        known = ", ".join(VERIFICATION_PROTOCOLS)
        raise FaceAlignError(f"Unknown protocol {name!r}; choose one of: {known}.")
    return VERIFICATION_PROTOCOLS[name]


class PictureEmbeddings:
    """Embeddings of pictures under several normalizations; each picture is processed once.

    A picture without a face counts as a whole, since protocols leave out no pair; `notes` says so.

    Args:
        normalizer: Finds the face of each picture; its own mode is not used.
        embedder: Computes the vectors.
        modes: Some of `VERIFICATION_MODES`.

    Attributes:
        notes: For pictures that were not normalized as asked for, the reason, by name; and the
            pictures whose face is marked as not reliable.

    Raises:
        FaceAlignError: If a mode is unknown, or the sizes of crops and network differ.
    """

    def __init__(
        self, normalizer: FaceNormalizer, embedder: Embedder, modes: Sequence[str]
    ) -> None:
        for mode in modes:
            if mode not in VERIFICATION_MODES:
                known = ", ".join(VERIFICATION_MODES)
                raise FaceAlignError(f"Unknown mode {mode!r}; choose one of: {known}.")
        if embedder.input_size != normalizer.image_size:
            raise FaceAlignError(
                f"{embedder.name} takes crops of {embedder.input_size} pixels and the normalizer "
                f"makes crops of {normalizer.image_size}; use one size"
            )
        self.normalizer, self.embedder, self.modes = normalizer, embedder, tuple(modes)
        self.notes: dict[str, str] = {}
        self._vectors: dict[str, np.ndarray] = {}
        self._pending: dict[str, np.ndarray] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._vectors or name in self._pending

    def __len__(self) -> int:
        return len(self._vectors) + len(self._pending)

    def add(self, name: str, image: np.ndarray) -> None:
        """Adds a picture, uint8 (H, W, 3), unless there is one of this name."""
        if name in self:
            return
        self._pending[name] = np.stack(list(self._crops(name, image)))
        if len(self._pending) >= _BATCH:
            self._flush()

    def vector(self, name: str, mode: str) -> np.ndarray:
        """Returns the embedding of a picture, float32 (D,)."""
        self._flush()
        return self._vectors[name][self.modes.index(mode)]

    def _crops(self, name: str, image: np.ndarray) -> Iterator[np.ndarray]:
        size = self.normalizer.image_size
        height, width = image.shape[:2]
        whole = crop_matrix(np.array([-0.5, -0.5, width - 0.5, height - 0.5]), size, 1.0)
        found = None
        if self.modes != (WHOLE_PICTURE,):
            try:
                found = self.normalizer.find(image, name)[1]
            except FaceAlignError:
                self.notes[name] = "no face found, so the whole picture"
        if found is not None and not found.reliable:
            self.notes[name] = UNRELIABLE
        for mode in self.modes:
            if mode == WHOLE_PICTURE or found is None:
                yield crop_face(image, whole, size)
                continue
            normalized = normalize_face(image, found, size, mode)
            if normalized.note:
                self.notes[name] = f"{normalized.note}, so the face's box"
            yield normalized.crop

    def _flush(self) -> None:
        if self._pending:
            crops = np.concatenate(list(self._pending.values()))
            names = [name for name in self._pending for _ in self.modes]
            vectors = self.embedder.embed(crops, names).reshape(
                len(self._pending), len(self.modes), -1
            )
            self._vectors.update(zip(self._pending, vectors, strict=True))
            self._pending.clear()

    def save(self, path: str | os.PathLike[str], settings: str) -> None:
        """Writes all vectors to an .npz file, with the settings that they were made with."""
        self._flush()
        names = list(self._vectors)
        atomic_write(
            path,
            lambda file: np.savez(
                file,
                names=np.array(names, np.str_),
                vectors=np.array(list(self._vectors.values()), np.float32),
                notes=np.array([self.notes.get(name, "") for name in names], np.str_),
                settings=np.array([settings], np.str_),
            ),
        )

    def load(self, path: str | os.PathLike[str], settings: str) -> bool:
        """Reads what `save` wrote; returns False, and reads nothing, if the settings differ.

        Raises:
            FaceAlignError: If the file is damaged.
        """
        specs = {"settings": ("U", (1,)), "names": ("U", (None,)), "notes": ("U", (None,))}
        arrays = read_npz(path, {**specs, "vectors": ("f", (None,) * 3)}, _MAX_BYTES)
        if str(arrays["settings"][0]) != settings:
            return False
        names, vectors, notes = (arrays[key] for key in ("names", "vectors", "notes"))
        if not len(names) == len(vectors) == len(notes) or not np.isfinite(vectors).all():
            raise FaceAlignError(f"{path}: its arrays do not fit each other; remove it")
        self._vectors = dict(zip(map(str, names), vectors, strict=True))
        self.notes = {str(n): str(t) for n, t in zip(names, notes, strict=True) if t}
        return True


def verify(
    protocol: VerificationProtocol,
    root: str | os.PathLike[str],
    embeddings: PictureEmbeddings,
    advance: Callable[[], object] = lambda: None,
) -> VerificationReport:
    """Runs a protocol: embeds its pictures and scores its pairs by the cosine of their vectors.

    Args:
        protocol: The protocol.
        root: Folder of the data set.
        embeddings: Of the pictures; those of earlier calls are used again.
        advance: Called after each pair.

    Returns:
        The result; pairs with a missing or broken picture are left out, and listed in it.

    Raises:
        FaceAlignError: If the folder holds no such data, or none of its pairs can be used.

    Example:
        >>> protocol = get_verification_protocol("cfp_fp")
        >>> report = verify(protocol, "cfp", embeddings)  # doctest: +SKIP
        >>> report.measures["arcface"]["accuracy"]  # doctest: +SKIP
        93.4
    """
    excluded: list[str] = []
    pairs, same, folds = [], [], []
    for pair in protocol.load(Path(root), on_skip=lambda error: excluded.append(str(error))):
        for name, image in zip(pair.file_names, pair.images, strict=True):
            embeddings.add(name, image)
        pairs.append((pair.file_names[0], pair.file_names[1]))
        same.append(pair.same)
        folds.append(pair.fold)
        advance()
    scores = {
        mode: np.array(
            [embeddings.vector(a, mode) @ embeddings.vector(b, mode) for a, b in pairs], float
        )
        for mode in embeddings.modes
    }
    return VerificationReport(
        protocol.title,
        scores,
        pairs,
        np.array(same),
        np.array(folds),
        [(protocol.person(a), protocol.person(b)) for a, b in pairs],
        excluded,
        {n: embeddings.notes[n] for pair in pairs for n in pair if n in embeddings.notes},
        protocol.published,
    )
