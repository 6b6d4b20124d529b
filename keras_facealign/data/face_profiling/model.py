"""A linear 3D model of heads in ICT-FaceKit's form: a mean and offsets that are added to it.

    vertices = neutral + sum identity[i] * a[i] + sum expression[j] * e[j]

x to the picture's right, y up, z towards the viewer, for a head that looks into the camera. The
identity's coefficients are drawn from the normal distribution, those of expressions lie in 0 to 1.

Li et al., Learning Formation of Physically-Based Face Attributes, CVPR 2020.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from keras_facealign.data.face_profiling.annotated import (
    annotated_jaw,
    is_kit,
    kit_habits,
    kit_jaw_shift,
)
from keras_facealign.data.face_profiling.arrays import read_npz
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import IBUG68

__all__ = ["MorphableModel", "load_model", "triangulate"]

NUM_LANDMARKS = 68

# ICT-FaceKit's first parts are the face, and head and neck; eyes, teeth and lashes follow.
_SKIN_VERTICES = 11_248

MAX_VERTICES = 200_000
MAX_OFFSETS = 1000
_MAX_BYTES = 1_000_000_000


@dataclass(frozen=True, eq=False)
class MorphableModel:
    """The skin of a head, and how it differs from person to person and from face to face.

    Attributes:
        neutral: float32 (V, 3), the mean head; the units are the model's own.
        identity: float32 (I, V, 3), offsets between persons, one standard deviation each.
        expression: float32 (E, V, 3), offsets of a full expression each.
        triangles: int32 (T, 3), counter-clockwise seen from outside.
        landmarks: int32 (68,), the vertices of the iBUG-68 landmarks.
        habits: float32 (68, 3), from these vertices to where annotators put the landmarks on
            average; a fit counts with them.
        jaw_shift: float32 (17, 3), added to the jaw's vertices where labels are written.

    Example:
        >>> model = load_model("ict_facekit_f16.npz")  # doctest: +SKIP
        >>> model.vertices(np.zeros(model.num_coefficients)).shape  # doctest: +SKIP
        (11251, 3)
    """

    neutral: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    triangles: np.ndarray
    landmarks: np.ndarray
    habits: np.ndarray
    jaw_shift: np.ndarray

    @property
    def num_coefficients(self) -> int:
        """Offsets of identity and expression together."""
        return len(self.identity) + len(self.expression)

    @cached_property
    def offsets(self) -> np.ndarray:
        """float32 (I + E, V, 3): identity, then expression."""
        return np.concatenate([self.identity, self.expression])

    def vertices(self, coefficients: np.ndarray) -> np.ndarray:
        """The head with these coefficients.

        Args:
            coefficients: float (I + E,), identity, then expression.

        Returns:
            float64 (V, 3) in the model's units.
        """
        flat = self.offsets.reshape(self.num_coefficients, -1)
        moved = np.asarray(coefficients, np.float32) @ flat
        return self.neutral.astype(np.float64) + moved.reshape(-1, 3)


def load_model(path: str | os.PathLike[str]) -> MorphableModel:
    """Reads a model in the form in which ICT-FaceKit is packed into one `.npz` file.

    Of a head with more parts than skin, only the skin is kept (the first 11 248 vertices, as the
    kit numbers them); the holes of eyes and mouth are closed by fans, the neck stays open. The
    kit's landmarks along the jaw are exchanged for the places that the public sets of 3D landmarks
    give them, and the model knows how these sets' other landmarks differ from the kit's.

    Args:
        path: A file with the arrays `neutral` (V, 3), `identity` (I, V, 3), `expression` (E, V, 3),
            `faces_v` (F, 4) quadrilaterals (triangles repeat a vertex) and `idx_to_landmark_verts`
            (68,).

    Returns:
        The model.

    Raises:
        FaceAlignError: The file is missing, damaged, too large, or its arrays do not fit together.

    Example:
        >>> load_model("ict_facekit_f16.npz").landmarks[:3]  # doctest: +SKIP
        array([8132, 8138, 8143], dtype=int32)
    """
    path = Path(path)
    small = {
        "neutral": ("f", (None, 3)),
        "faces_v": ("iu", (None, 4)),
        "idx_to_landmark_verts": ("iu", (NUM_LANDMARKS,)),
    }
    arrays = read_npz(path, small, _MAX_BYTES // 10)
    count = len(arrays["neutral"])
    if not 0 < count <= MAX_VERTICES:
        raise FaceAlignError(f"{path}: has {count} vertices, not 1 to {MAX_VERTICES}; check it")
    offsets = read_npz(
        path,
        {name: ("f", (None, count, 3)) for name in ("identity", "expression")},
        _MAX_BYTES,
    )
    skin = min(count, _SKIN_VERTICES)
    parts = {}
    for name, array in (("neutral", arrays["neutral"][None]), *offsets.items()):
        if len(array) > MAX_OFFSETS:
            raise FaceAlignError(f"{path}: has {len(array)} offsets {name}; {MAX_OFFSETS} at most")
        parts[name] = array[:, :skin].astype(np.float32)
        if not np.isfinite(parts[name]).all():
            raise FaceAlignError(f"{path}: {name} has numbers that are not finite; get it anew")
    landmarks, faces = arrays["idx_to_landmark_verts"], arrays["faces_v"]
    if landmarks.min() < 0 or landmarks.max() >= skin:
        raise FaceAlignError(f"{path}: a landmark is at vertex {landmarks.max()}, which is no skin")
    if faces.size == 0 or faces.min() < 0 or faces.max() >= count:
        raise FaceAlignError(f"{path}: faces_v refers to vertices that are not there; get it anew")
    habits = np.zeros((NUM_LANDMARKS, 3), np.float32)
    jaw_shift = np.zeros((len(IBUG68.regions["jaw"]), 3), np.float32)
    if is_kit(landmarks):
        landmarks, habits = annotated_jaw(landmarks), kit_habits()
        jaw_shift = kit_jaw_shift()
    triangles = triangulate(faces[(faces < skin).all(axis=1)])
    return _close_holes(
        MorphableModel(
            neutral=parts["neutral"][0],
            identity=parts["identity"],
            expression=parts["expression"],
            triangles=triangles,
            landmarks=landmarks.astype(np.int32),
            habits=habits,
            jaw_shift=jaw_shift,
        )
    )


def triangulate(quadrilaterals: np.ndarray) -> np.ndarray:
    """Cuts quadrilaterals (F, 4) into triangles; those with a repeated vertex give one.

    Returns:
        int32 (T, 3), turning the same way.
    """
    q = np.asarray(quadrilaterals, np.int32)
    triangles = np.concatenate([q[:, [0, 1, 2]], q[:, [0, 2, 3]]])
    a, b, c = triangles.T
    return triangles[(a != b) & (b != c) & (c != a)]


def _close_holes(model: MorphableModel) -> MorphableModel:
    """Closes every hole but the largest (the neck) by a fan around a new vertex in its middle."""
    loops = _boundary_loops(model.triangles)
    if not loops:
        return model

    def width(loop: np.ndarray) -> float:
        return float(np.ptp(model.neutral[loop], axis=0).max())

    holes = sorted(loops, key=width)[:-1]
    if not holes:
        return model

    def with_centers(array: np.ndarray) -> np.ndarray:
        centers = [array[..., loop, :].mean(axis=-2, keepdims=True) for loop in holes]
        return np.concatenate([array, *centers], axis=-2)

    fans = []
    for index, loop in enumerate(holes):
        center = np.full(len(loop), len(model.neutral) + index)
        # The surface's own triangles run along the loop; their neighbors run against it.
        fans.append(np.stack([np.roll(loop, -1), loop, center], axis=1))
    return replace(
        model,
        neutral=with_centers(model.neutral),
        identity=with_centers(model.identity),
        expression=with_centers(model.expression),
        triangles=np.concatenate([model.triangles, *fans]).astype(np.int32),
    )


def _boundary_loops(triangles: np.ndarray) -> list[np.ndarray]:
    """The closed runs of edges that have a triangle on one side only, each in its direction."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    size = int(triangles.max()) + 1
    keys = edges[:, 0].astype(np.int64) * size + edges[:, 1]
    lonely = edges[~np.isin(edges[:, 1].astype(np.int64) * size + edges[:, 0], keys)]
    following = {int(a): int(b) for a, b in lonely}
    loops = []
    while following:
        start, vertex = following.popitem()
        loop = [start]
        while vertex != start and vertex in following:
            loop.append(vertex)
            vertex = following.pop(vertex)
        if vertex == start and len(loop) > 2:
            loops.append(np.array(loop))
    return loops
