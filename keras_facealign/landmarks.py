"""Landmark schemes: what each point is, how points mirror, and how they are drawn.

A scheme is data: names of regions, the permutation that a horizontal flip applies to the points,
and the line segments that make a readable drawing.

Source of the 68-point order: the iBUG annotation (Sagonas et al., 300 Faces in-the-Wild, 2013).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from keras_facealign.errors import FaceAlignError

__all__ = ["IBUG68", "LandmarkScheme", "get_scheme"]


@dataclass(frozen=True)
class LandmarkScheme:
    """A numbered set of facial landmarks.

    Args:
        name: Short lower-case name, the key of `get_scheme`.
        num_landmarks: How many points the scheme has (K).
        regions: Point indices of each facial region. "right" and "left" are the person's own, so
            the right eye is on the left of a frontal picture.
        closed_regions: Names of the regions whose drawing closes into a loop.
        flip_pairs: Pairs of points that change places when the picture is mirrored. Points in no
            pair lie on the symmetry line.
        eye_corners: The outer corners of both eyes, whose distance is the inter-ocular normaliser.
    """

    name: str
    num_landmarks: int
    regions: dict[str, tuple[int, ...]]
    closed_regions: frozenset[str]
    flip_pairs: tuple[tuple[int, int], ...]
    eye_corners: tuple[int, int]

    @property
    def flip_permutation(self) -> np.ndarray:
        """Index array `p` (K,) such that `points[p]` puts mirrored points back in scheme order."""
        permutation = np.arange(self.num_landmarks)
        for a, b in self.flip_pairs:
            permutation[a], permutation[b] = b, a
        return permutation

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Pairs of points to join by a line, region by region."""
        segments: list[tuple[int, int]] = []
        for region, points in self.regions.items():
            segments += pairwise(points)
            if region in self.closed_regions:
                segments.append((points[-1], points[0]))
        return tuple(segments)


def _span(first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1))


IBUG68 = LandmarkScheme(
    name="ibug68",
    num_landmarks=68,
    regions={
        "jaw": _span(0, 16),
        "right_brow": _span(17, 21),
        "left_brow": _span(22, 26),
        "nose_bridge": _span(27, 30),
        "nostrils": _span(31, 35),
        "right_eye": _span(36, 41),
        "left_eye": _span(42, 47),
        "outer_lip": _span(48, 59),
        "inner_lip": _span(60, 67),
    },
    closed_regions=frozenset({"right_eye", "left_eye", "outer_lip", "inner_lip"}),
    flip_pairs=(
        *((i, 16 - i) for i in range(8)),
        *((17 + i, 26 - i) for i in range(5)),
        (31, 35),
        (32, 34),
        *((36 + i, 45 - i) for i in range(4)),
        (40, 47),
        (41, 46),
        *((48 + i, 54 - i) for i in range(3)),
        (55, 59),
        (56, 58),
        (60, 64),
        (61, 63),
        (65, 67),
    ),
    eye_corners=(36, 45),
)

_SCHEMES = {scheme.name: scheme for scheme in (IBUG68,)}


def get_scheme(name: str) -> LandmarkScheme:
    """Looks a landmark scheme up by its name.

    Args:
        name: For example `"ibug68"`.

    Returns:
        The scheme.

    Raises:
        FaceAlignError: If there is no scheme of that name.

    Example:
        >>> get_scheme("ibug68").num_landmarks
        68
    """
    if name not in _SCHEMES:
        known = ", ".join(sorted(_SCHEMES))
        raise FaceAlignError(f"Unknown landmark scheme {name!r}; choose one of: {known}.")
    return _SCHEMES[name]
