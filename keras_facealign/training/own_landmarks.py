"""Compares own labels with what a trained network finds: nearest known landmarks, and the crop.

A network that knows other landmarks still finds the face. Where its landmarks lie among the new
ones tells from which heads these can start, which points are the eyes' corners, and how the box of
the new points has to grow to be the box that the network is used to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from keras_facealign import geometry
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import LandmarkScheme, scheme_from_dict, scheme_to_dict
from keras_facealign.landmarks.guessing import (
    FlipGuess,
    guess_flips,
    guess_regions,
    lines_of,
    shape_of,
)

FACES = 32
"""Faces that are looked at by default."""

# Crops to look for the face in, in units of the crop around the points: of the eyes or the mouth
# alone they have to be larger.
_REACHES = (1.0, 1.6, 2.5, 4.0)
_REFINEMENTS = 2
# After as many faces, only the reach that was the best for most of them is tried.
_TRIALS = 6
_LEAST_CONFIDENCE = 0.4
_LEAST_FACES = 3
# A box that differs less is the tight box.
_SAME_BOX = 0.1
# In units of the face's size: a head farther away is no start, a point nearer is the same one, and
# one in between belongs to the same part of the face.
FARTHEST, SAME_POINT, SAME_REGION = 0.25, 0.05, 0.12


@dataclass(frozen=True, eq=False)
class KnownLandmarks:
    """Labels of faces, and the landmarks that a network finds there.

    Attributes:
        scheme: Scheme of the network.
        labels: float (N, K, 2), pixels.
        visibility: (N, K), 0 where a landmark is not labeled.
        found: float (N, M, 2), pixels of the same pictures.
        confidence: float (N,), mean over the landmarks found.
    """

    scheme: LandmarkScheme
    labels: np.ndarray
    visibility: np.ndarray
    found: np.ndarray
    confidence: np.ndarray

    @property
    def usable(self) -> np.ndarray:
        """bool (N,), where the network has found a face."""
        return self.confidence >= _LEAST_CONFIDENCE

    def nearest(self) -> list[tuple[int, float] | None]:
        """Finds the known landmark that is nearest to each new one.

        Returns:
            For each of the K points the index of the known one, and their median distance in units
            of the face's size, the root of its box's area; None if it cannot be told.
        """
        keep = self.usable
        found, labels = self.found[keep], self.labels[keep]
        labeled = self.visibility[keep] > 0
        sides = np.ptp(found, axis=1) if len(found) else np.ones((0, 2))
        size = np.sqrt(np.maximum(sides.prod(axis=1), 1e-9))
        result: list[tuple[int, float] | None] = []
        for k in range(self.labels.shape[1]):
            rows = labeled[:, k]
            if rows.sum() < min(_LEAST_FACES, max(len(found), 1)):
                result.append(None)
                continue
            gaps = np.linalg.norm(found[rows] - labels[rows, k][:, None], axis=-1)
            median = np.median(gaps / size[rows][:, None], axis=0)
            best = int(median.argmin())
            result.append((best, float(median[best])))
        return result

    def mapping(self) -> dict[int, int]:
        """The known landmark to start each new one from, see `with_landmarks`."""
        return {
            k: pair[0]
            for k, pair in enumerate(self.nearest())
            if pair is not None and pair[1] <= FARTHEST
        }

    def face_box(self) -> tuple[float, float, float, float] | None:
        """The box that the network is used to, in units of the tight box of the new points.

        Returns:
            See `LandmarkScheme.face_box`; None if it is nearly the tight box, or cannot be told.
        """
        keep = self.usable & (self.visibility > 0).all(axis=1)
        if keep.sum() < _LEAST_FACES:
            return None
        low, high = self.labels[keep].min(axis=1), self.labels[keep].max(axis=1)
        sides = np.maximum(high - low, 1e-6)
        corners = [self.found[keep].min(axis=1), self.found[keep].max(axis=1)]
        relative = np.concatenate([(corner - low) / sides for corner in corners], axis=1)
        box = np.clip(np.median(relative, axis=0), -20, 20).round(2)
        if np.abs(box - [0, 0, 1, 1]).max() < _SAME_BOX or (box[2:] <= box[:2]).any():
            return None
        x0, y0, x1, y1 = box.tolist()
        return x0, y0, x1, y1


def find_known_landmarks(model: Any, examples: Iterable[Any], limit: int = FACES) -> KnownLandmarks:
    """Finds the landmarks that a network knows on labeled faces.

    Args:
        model: The trained network.
        examples: `FaceExample`s; their boxes are not used.
        limit: Number of faces to look at, the first ones.

    Returns:
        Labels and found landmarks.

    Raises:
        FaceAlignError: If there is no face.
    """
    rows = []
    reaches, best = _REACHES, Counter[float]()
    for example in islice(examples, limit):
        row, reach = _look(model, example, reaches)
        rows.append(row)
        best[reach] += 1
        if len(rows) == _TRIALS:
            reaches = (best.most_common(1)[0][0],)
    if not rows:
        raise FaceAlignError("There is no labeled face to look at; check the labels.")
    labels, visibility, found, confidence = (np.stack(values) for values in zip(*rows, strict=True))
    return KnownLandmarks(model.scheme, labels, visibility, found, confidence)


def _look(
    model: Any, example: Any, reaches: Sequence[float]
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], float]:
    """Labels, visibility, landmarks found and mean confidence of a face; and the best reach."""
    labels, visibility = np.asarray(example.landmarks), np.asarray(example.visibility)
    tight = geometry.landmarks_box(labels, visibility)
    center, half = (tight[:2] + tight[2:]) / 2, max(float((tight[2:] - tight[:2]).max()) / 2, 1.0)
    boxes = [np.concatenate([center - half * r, center + half * r]) for r in reaches]
    found, confidence = _predict(model, example.image, boxes)
    best = int(confidence.argmax())
    points, sure = found[best], confidence[best]
    for _ in range(_REFINEMENTS):
        box = geometry.landmarks_box(points)
        if (box[2:] - box[:2]).min() < 1:
            break
        found, confidence = _predict(model, example.image, [box])
        if confidence[0] < sure:
            break
        points, sure = found[0], confidence[0]
    return (labels, visibility, points, sure), reaches[best]


def _predict(
    model: Any, image: np.ndarray, boxes: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    size = model.input_size
    matrices = np.stack([geometry.crop_matrix(box, size) for box in boxes])
    crops = np.stack([geometry.crop_face(image, matrix, size) for matrix in matrices])
    landmarks, confidence = model.predict_landmarks(crops)
    inverse = geometry.invert(matrices.astype(np.float64))
    return geometry.transform_points(inverse, landmarks), np.asarray(confidence).mean(axis=1)


@dataclass(frozen=True, eq=False)
class SchemeGuess:
    """A guessed scheme, and what it was guessed from.

    Attributes:
        scheme: The scheme.
        shape: float (K, 2), the mean shape.
        flips: The guesses of its flip pairs and of the points on the symmetry line.
        nearest: The nearest known landmark of each point, where a network was asked.
    """

    scheme: LandmarkScheme
    shape: np.ndarray
    flips: list[FlipGuess]
    nearest: list[tuple[int, float] | None]


def guess_scheme(labels: Any, name: str, known: KnownLandmarks | None = None) -> SchemeGuess:
    """Guesses the scheme of labels, for a person to confirm.

    Args:
        labels: A `LabelSet`.
        name: Name of the scheme.
        known: What a trained network finds on the faces: it tells the eyes' corners, the parts of
            the face where the labels do not, and the box of the face.

    Returns:
        The guess. Without `known`, the normalizer is the size of the box.

    Raises:
        FaceAlignError: If the name or the landmarks' names cannot be those of a scheme.
    """
    landmarks = np.stack([face.landmarks for face in labels.faces])
    visibility = np.stack([face.visibility for face in labels.faces])
    shape = shape_of(landmarks, visibility)
    flips = guess_flips(shape, labels.names)
    edges = tuple(labels.edges or ())
    scheme = LandmarkScheme(
        name=name,
        num_landmarks=labels.num_landmarks,
        regions=guess_regions(labels.num_landmarks, labels.names, edges),
        closed_regions=frozenset(),
        flip_pairs=tuple(g.points for g in flips if g.points[0] != g.points[1]),
        eye_corners=None,
        lines=lines_of(edges),
        names=labels.names,
    )
    nearest: list[tuple[int, float] | None] = []
    if known is not None:
        nearest = known.nearest()
        scheme = _with_known(scheme, known, nearest)
    # Checked as a file is.
    scheme = scheme_from_dict(scheme_to_dict(scheme))
    return SchemeGuess(scheme, shape, flips, nearest)


def _with_known(
    scheme: LandmarkScheme, known: KnownLandmarks, nearest: list[tuple[int, float] | None]
) -> LandmarkScheme:
    """Adds what the nearest known landmarks tell."""
    regions = scheme.regions
    if len(regions) == 1 or "part_0" in regions:
        regions = _named_regions(scheme, known.scheme, nearest)
    return replace(
        scheme,
        regions=regions,
        eye_corners=_same_points(known.scheme.eye_corners, nearest),
        inner_corners=_same_points(known.scheme.inner_corners, nearest),
        face_box=known.face_box(),
    )


def _named_regions(
    scheme: LandmarkScheme,
    known: LandmarkScheme,
    nearest: list[tuple[int, float] | None],
) -> dict[str, tuple[int, ...]]:
    """Names the parts of the face by the known landmarks near them; parts of one name are one."""
    of_point = {point: name for name, points in known.regions.items() for point in points}
    words = [
        of_point.get(pair[0], "other") if pair is not None and pair[1] <= SAME_REGION else "other"
        for pair in nearest
    ]
    parts = list(scheme.regions.values())
    if len(parts) == 1:
        parts = [(k,) for k in range(scheme.num_landmarks)]
    members: dict[str, list[int]] = {name: [] for name in (*known.regions, "other")}
    for points in parts:
        ((word, _),) = Counter(words[k] for k in points).most_common(1)
        members[word] += points
    return {name: tuple(sorted(points)) for name, points in members.items() if points}


def _same_points(
    points: tuple[int, int] | None, nearest: list[tuple[int, float] | None]
) -> tuple[int, int] | None:
    """The new points that are the same as two known ones; None unless both are there."""
    found = []
    for point in points or ():
        near = [
            (pair[1], k)
            for k, pair in enumerate(nearest)
            if pair is not None and pair[0] == point and pair[1] <= SAME_POINT
        ]
        if near:
            found.append(min(near)[1])
    return (found[0], found[1]) if len(found) == 2 and found[0] != found[1] else None
