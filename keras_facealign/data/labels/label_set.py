"""Labels of one's own: light records of the faces, whose pictures are read when they are needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from keras_facealign.data.examples import FaceExample, make_example
from keras_facealign.data.images import read_image
from keras_facealign.data.valid_items import iter_valid
from keras_facealign.errors import FaceAlignError


@dataclass(frozen=True, eq=False)
class FaceLabels:
    """The labels of one face, without its picture.

    Attributes:
        image_path: The picture's file.
        file_name: Its path below the folder of the pictures, with forward slashes.
        landmarks: float32 (K, 2), x before y, 0-based pixels; (0, 0) where visibility is 0.
        visibility: int32 (K,), 0 not labeled, 1 hidden, 2 visible.
        box: float32 (4,), x0, y0, x1, y1.
        box_source: `file`, or `points` where the box is that of the landmarks.
        where: What messages call the labels: a file, and a place in it.
        group: Person or group that the file tells, or None.
        image_size: Width and height of the picture that was labeled, or None if the file does not
            tell it.
        key: Unique in its set: the file name, numbered where one picture has several faces.
    """

    image_path: Path
    file_name: str
    landmarks: np.ndarray
    visibility: np.ndarray
    box: np.ndarray
    box_source: str
    where: str
    group: str | None = None
    image_size: tuple[int, int] | None = None
    key: str = ""


@dataclass(frozen=True, eq=False)
class LabelSet:
    """Labeled faces of a file or folder, as `keras_facealign.data.load` reads them.

    Iterating yields `FaceExample`s, whose pictures are read one at a time; faces whose picture
    cannot be used are left out and added to `skipped`.

    Attributes:
        path: The file or folder.
        kind: Its format, a key of `KINDS`.
        guessed: Whether the format was guessed.
        title: The format's name.
        counting: How the file counts pixels, and what was done about it.
        root: The folder of the pictures.
        num_landmarks: Landmarks of a face (K).
        faces: A record of each face, without pixels.
        names: The landmarks' names, or None.
        edges: Pairs of landmarks to join by a line, or None.
        unlabeled: Pictures below the folder without a labeled face.
        empty_boxes: Picture and box of labeled faces without points.
        notes: Remarks for people.
        unusable: Errors of the labels that are left out.

    Example:
        >>> labels = keras_facealign.data.load("labels.json")  # doctest: +SKIP
        >>> print(labels.describe())  # doctest: +SKIP
        >>> for face in labels:  # doctest: +SKIP
        ...     print(face.file_name, face.landmarks.shape)
    """

    path: Path
    kind: str
    guessed: bool
    title: str
    counting: str
    root: Path
    num_landmarks: int
    faces: tuple[FaceLabels, ...]
    names: tuple[str, ...] | None = None
    edges: tuple[tuple[int, int], ...] | None = None
    unlabeled: tuple[str, ...] = ()
    empty_boxes: tuple[tuple[str, tuple[float, float, float, float]], ...] = ()
    notes: tuple[str, ...] = ()
    unusable: tuple[FaceAlignError, ...] = ()
    _failed: dict[int, FaceAlignError] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Number of faces; their pictures may still turn out to be broken."""
        return len(self.faces)

    def __iter__(self) -> Iterator[FaceExample]:
        return self.examples(on_skip=lambda error: None)

    @property
    def skipped(self) -> list[FaceAlignError]:
        """Errors of what is left out: of labels, and of the pictures that have been read so far."""
        return [*self.unusable, *(self._failed[index] for index in sorted(self._failed))]

    @cached_property
    def groups(self) -> tuple[str | None, ...] | None:
        """Person or group of each face; None if the file tells none."""
        found = tuple(face.group for face in self.faces)
        return found if any(group is not None for group in found) else None

    def examples(
        self,
        strict: bool = False,
        on_skip: Callable[[FaceAlignError], None] | None = None,
    ) -> Iterator[FaceExample]:
        """Reads the faces with their pictures, one at a time.

        Args:
            strict: Raise on the first face that cannot be used instead of skipping it.
            on_skip: Called with the error of every skipped face; see `iter_valid`.

        Yields:
            The faces, in the file's order.

        Raises:
            FaceAlignError: A face cannot be used and `strict` is set, or none can.
        """
        last: list[tuple[Path, np.ndarray]] = []

        def read(index: int) -> FaceExample:
            face = self.faces[index]
            try:
                if not last or last[0][0] != face.image_path:
                    last[:] = [(face.image_path, read_image(face.image_path))]
                return read_face(face, last[0][1])
            except FaceAlignError as error:
                self._failed[index] = error
                raise

        return iter_valid(range(len(self.faces)), read, strict, on_skip)

    def select(self, indices: Iterable[int]) -> LabelSet:
        """The set with some of its faces, in the given order.

        Args:
            indices: Places in `faces`.

        Returns:
            A set that reports no further skipped labels or unlabeled pictures.
        """
        faces = tuple(self.faces[index] for index in indices)
        return replace(
            self, faces=faces, unlabeled=(), empty_boxes=(), notes=(), unusable=(), _failed={}
        )

    def describe(self) -> str:
        """One line about the set: what it was taken for, what is in it, and how it counts."""
        pictures = len({face.file_name for face in self.faces})
        named = "named " if self.names else ""
        sources = Counter(face.box_source for face in self.faces)
        boxes = {
            "file": "boxes are the file's",
            "points": "boxes are those of the points",
        }
        told = (
            boxes[next(iter(sources))]
            if len(sources) == 1
            else (
                f"{sources['file']} boxes are the file's, {sources['points']} those of the points"
            )
        )
        parts = [
            f"{self.path}: {self.title}" + (" (guessed)" if self.guessed else ""),
            f"{len(self.faces)} faces with {self.num_landmarks} {named}landmarks in {pictures} "
            f"pictures below {self.root}",
            self.counting,
            told,
        ]
        for number, words in (
            (len(self.skipped), "left out"),
            (len(self.empty_boxes), "boxes without points"),
            (len(self.unlabeled), "pictures without labels"),
        ):
            if number:
                parts.append(f"{number} {words}")
        return "; ".join(parts)


def read_face(face: FaceLabels, image: np.ndarray) -> FaceExample:
    """Joins the labels of a face with its picture.

    Args:
        face: The labels.
        image: The picture, uint8 (H, W, 3).

    Raises:
        FaceAlignError: The picture has another size than the labeled one, or the labels do not fit
            it.
    """
    height, width = image.shape[:2]
    if face.image_size not in (None, (width, height)):
        labeled = "x".join(map(str, face.image_size or ()))
        turned = face.image_size == (height, width)
        advice = (
            "it is turned by its EXIF data, and the labels are not; save it upright or label again"
            if turned
            else "give the picture that was labeled"
        )
        raise FaceAlignError(
            f"{face.where}: the labels are of a picture of {labeled} pixels, and "
            f"{face.image_path} has {width}x{height}; {advice}"
        )
    example = make_example(
        image,
        face.landmarks,
        face.visibility,
        file_name=face.file_name,
        subset=face.file_name.rpartition("/")[0],
        label_name=face.where,
        key=face.key or face.file_name,
        box=face.box,
    )
    return replace(example, image_path=face.image_path)
