"""The class of landmark schemes: names, symmetry and drawing of numbered points."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

CLOSED_REGIONS = frozenset(
    {"right_brow", "left_brow", "right_eye", "left_eye", "outer_lip", "inner_lip"}
)
"""Regions whose drawing is a loop in schemes that trace both edges of the brows."""


@dataclass(frozen=True)
class LandmarkScheme:
    """A numbered set of facial landmarks.

    Args:
        name: Short lower-case name, the key of `get_scheme`.
        num_landmarks: How many points the scheme has (K).
        regions: Point indices of each facial region. "right" and "left" are the person's own, so
            the right eye is on the left of a frontal image.
        closed_regions: Names of the regions that are drawn as a closed loop.
        flip_pairs: Pairs of points that a horizontal flip exchanges. Other points are on the
            symmetry line.
        eye_corners: The outer corners of the right and the left eye, whose distance is the
            inter-ocular normalizer. Schemes without corners use the eyes' centers; None if there
            are no such points: errors are then relative to the size of the box.
        inner_corners: The inner corners of both eyes, if the scheme has them.
        eyes: The points of the right and the left eye whose mean is the eye's center.
        lines: Polylines to draw. Default: the points of each region in order.
        has_flip_pairs: Whether it is known which points a horizontal flip exchanges.
        names: Names of the points in order, if they have any.
        face_box: The box that a face is cropped by, in units of the tight box of its points, whose
            top left is (0, 0) and bottom right (1, 1). Points of the eyes alone need a larger box
            than points of the whole face. Default: the tight box itself.

    Example:
        >>> from keras_facealign.landmarks import get_scheme
        >>> get_scheme("cofw29").flip_permutation[:4]
        array([1, 0, 3, 2])
    """

    name: str
    num_landmarks: int
    regions: dict[str, tuple[int, ...]]
    closed_regions: frozenset[str]
    flip_pairs: tuple[tuple[int, int], ...]
    eye_corners: tuple[int, int] | None
    inner_corners: tuple[int, int] | None = None
    eyes: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    lines: tuple[tuple[int, ...], ...] | None = None
    has_flip_pairs: bool = True
    names: tuple[str, ...] | None = None
    face_box: tuple[float, float, float, float] | None = None

    @property
    def flip_permutation(self) -> np.ndarray:
        """Index array `p` (K,): `points[p]` has the points of a flipped image in scheme order."""
        permutation = np.arange(self.num_landmarks)
        for a, b in self.flip_pairs:
            permutation[a], permutation[b] = b, a
        return permutation

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Pairs of points to join by a line, region by region."""
        if self.lines is not None:
            return tuple(edge for line in self.lines for edge in pairwise(line))
        segments: list[tuple[int, int]] = []
        for region, points in self.regions.items():
            segments += pairwise(points)
            if region in self.closed_regions:
                segments.append((points[-1], points[0]))
        return tuple(segments)

    @property
    def eye_points(self) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Points of the right and the left eye, or their outer corners; None if unknown.

        The line between the two means shows how far a face leans.
        """
        regions = self.regions
        if "right_eye" in regions and "left_eye" in regions:
            return regions["right_eye"], regions["left_eye"]
        if self.eyes is not None or self.eye_corners is None:
            return self.eyes
        right, left = self.eye_corners
        return (right,), (left,)

    @property
    def point_names(self) -> tuple[str, ...]:
        """Names of the points: their own, or the region and the number in it."""
        if self.names is not None:
            return self.names
        names = [f"landmark_{index}" for index in range(self.num_landmarks)]
        for region, points in self.regions.items():
            for number, point in enumerate(points):
                names[point] = f"{region}_{number}"
        return tuple(names)

    def crop_box(self, tight: np.ndarray) -> np.ndarray:
        """Returns the box that a face is cropped by, x0, y0, x1, y1.

        Args:
            tight: (..., 4), the tight box of its points.

        Example:
            >>> from dataclasses import replace
            >>> from keras_facealign.landmarks import FIVE
            >>> replace(FIVE, face_box=(-0.5, -1, 1.5, 1.5)).crop_box(np.array([0, 0, 10, 20]))
            array([ -5., -20.,  15.,  30.], dtype=float32)
        """
        tight = np.asarray(tight, np.float32)
        if self.face_box is None:
            return tight
        sides = np.concatenate([tight[..., 2:] - tight[..., :2]] * 2, axis=-1)
        corner = np.concatenate([tight[..., :2]] * 2, axis=-1)
        return corner + np.asarray(self.face_box, np.float32) * sides


def span(first: int, last: int) -> tuple[int, ...]:
    """The indices from `first` up to and including `last`."""
    return tuple(range(first, last + 1))


def mirrored_pairs(
    *runs: tuple[tuple[int, ...], tuple[int, ...]],
) -> tuple[tuple[int, int], ...]:
    """Flip pairs of runs of points and their mirror images, without points that are their own."""
    pairs = [pair for one, other in runs for pair in zip(one, other, strict=True)]
    return tuple((a, b) for a, b in pairs if a != b)
