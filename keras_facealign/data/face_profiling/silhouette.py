"""Contour lines on a head's skin, which contain the points of a face's visible outline.

Annotators place the jaw's landmarks on the visible outline of a face. On the side that is turned
away, the outline is not a fixed line of the head: it moves from the jaw to the cheek. Each jaw
landmark therefore has a line of points on the skin, from the jaw forward to the middle of the face,
and for a given pose it is the outermost point of this line ("landmark marching": Zhu et al.,
Discriminative 3D Morphable Model Fitting, FG 2015).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_facealign.data.face_profiling.model import MorphableModel

JAW = 17
"""The first landmarks of iBUG-68 are the jaw's, from the person's right to the left."""

_STEPS = 28
# Angles about a line's center, from straight outwards (0) to straight forward (90).
_FOREMOST = np.radians(78.0)
_BEHIND = np.radians(4.0)


@dataclass(frozen=True, eq=False)
class ContourLines:
    """Lines of points on the skin; one point of each line is on the outline.

    Attributes:
        neutral: float64 (17, S, 3), the points on the mean head, each line from the jaw forward.
        offsets: float32 (I + E, 17, S, 3), the model's offsets at the points.
        outwards: float64 (17, 3), unit vectors away from the middle of the face, z = 0.
    """

    neutral: np.ndarray
    offsets: np.ndarray
    outwards: np.ndarray

    def points(self, coefficients: np.ndarray) -> np.ndarray:
        """float64 (17, S, 3): the lines on the head with these coefficients."""
        flat = self.offsets.reshape(len(self.offsets), -1)
        moved = np.asarray(coefficients, np.float32) @ flat
        return self.neutral + moved.reshape(self.neutral.shape)

    def outermost(self, points: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """Finds the point of each line that is on the outline of a rotated head.

        Args:
            points: What `points` returns.
            rotation: float (3, 3), the head's.

        Returns:
            int (17,), indices along the lines.
        """
        direction = self.outwards @ rotation[:2].T
        length = np.linalg.norm(direction, axis=1, keepdims=True)
        direction = direction / np.maximum(length, 1e-9)
        reach = np.einsum("lsc,rc,lr->ls", points, rotation[:2], direction)
        return reach.argmax(axis=1)


def contour_lines(model: MorphableModel) -> ContourLines:
    """Computes the contour lines of a model with rays from inside the head to its skin.

    The rays of a line have one start and one plane, which contains the forward direction and that
    from the middle of the face to the jaw landmark: horizontal at the ears, vertical at the chin.

    Args:
        model: The head.

    Returns:
        The lines.
    """
    neutral = model.neutral.astype(np.float64)
    marks = neutral[model.landmarks]
    middle = float(marks[27:36, 0].mean())
    nose_base = float(marks[33, 1])
    corners = neutral[model.triangles]
    starts, directions, outwards = [], [], []
    for mark in marks[:JAW]:
        # Above the nose's base the lines are horizontal.
        start = np.array([middle, min(mark[1], 0.0), float(marks[[0, 16], 2].min())])
        start[1] = mark[1] if mark[1] > nose_base else nose_base
        out = np.array([mark[0] - middle, mark[1] - start[1], 0.0])
        out /= np.linalg.norm(out)
        start[2] -= 0.25 * abs(marks[45, 0] - marks[36, 0])
        first = np.arctan2(mark[2] - start[2], (mark - start) @ out) - _BEHIND
        angles = np.linspace(first, max(_FOREMOST, first + 2 * _BEHIND), _STEPS)
        rays = np.cos(angles)[:, None] * out + np.sin(angles)[:, None] * np.array([0, 0, 1.0])
        starts += [start] * _STEPS
        directions += list(rays)
        outwards.append(out)
    hit, weights = _last_hits(np.array(starts), np.array(directions), corners)
    used = model.triangles[hit].reshape(JAW, _STEPS, 3)
    weights = weights.reshape(JAW, _STEPS, 3)
    return ContourLines(
        neutral=np.einsum("lskc,lsk->lsc", neutral[used], weights),
        offsets=np.ascontiguousarray(
            np.einsum("nlskc,lsk->nlsc", model.offsets[:, used], weights.astype(np.float32))
        ),
        outwards=np.array(outwards),
    )


def _last_hits(
    starts: np.ndarray, directions: np.ndarray, corners: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The farthest intersection of each ray with the triangles (Möller and Trumbore, 1997).

    Args:
        starts: float (N, 3).
        directions: float (N, 3).
        corners: float (T, 3, 3).

    Returns:
        int (N,) triangles and float (N, 3) barycentric weights. A ray without an
        intersection gets the nearest corner.
    """
    a = corners[:, 0]
    first, second = corners[:, 1] - a, corners[:, 2] - a
    hits = np.zeros(len(starts), np.int64)
    weights = np.zeros((len(starts), 3))
    for index, (start, direction) in enumerate(zip(starts, directions, strict=True)):
        p = np.cross(direction, second)
        determinant = (first * p).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            offset = start - a
            u = (offset * p).sum(axis=1) / determinant
            q = np.cross(offset, first)
            v = (q @ direction) / determinant
            far = (second * q).sum(axis=1) / determinant
        inside = (u >= 0) & (v >= 0) & (u + v <= 1) & (far > 0)
        if inside.any():
            best = int(np.where(inside, far, -np.inf).argmax())
            hits[index], weights[index] = best, (1 - u[best] - v[best], u[best], v[best])
            continue
        along = np.maximum(((corners - start) @ direction)[..., None], 0.0) * direction
        distance = np.linalg.norm(corners - start - along, axis=2)
        hits[index], corner = np.unravel_index(int(distance.argmin()), distance.shape)
        weights[index, corner] = 1.0
    return hits, weights
