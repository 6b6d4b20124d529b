"""A linear 3D model of heads, as in ICT-FaceKit: a mean head plus weighted offsets.

    vertices = neutral + sum identity[i] * a[i] + sum expression[j] * e[j]

For a head that looks into the camera, x points to the image's right, y up and z towards the viewer.
Coefficients of identity are normally distributed, those of expressions are within 0 to 1.

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
    kit_annotation_bias,
    kit_jaw_shift,
)
from keras_facealign.data.npz import read_npz
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import IBUG68

NUM_LANDMARKS = 68

# ICT-FaceKit's first parts are the face, and head and neck; eyes, teeth and lashes follow.
_SKIN_VERTICES = 11_248

MAX_VERTICES = 200_000
MAX_OFFSETS = 1000
_MAX_BYTES = 1_000_000_000


@dataclass(frozen=True, eq=False)
class MorphableModel:
    """The skin of a head, and its variation by identity and expression.

    Attributes:
        neutral: float32 (V, 3), the mean head; the units are the model's own.
        identity: float32 (I, V, 3), offsets of one standard deviation of each identity mode.
        expression: float32 (E, V, 3), offsets of each full expression.
        triangles: int32 (T, 3), counter-clockwise seen from outside.
        landmarks: int32 (68,), the vertices of the iBUG-68 landmarks.
        annotation_bias: float32 (68, 3), mean difference between annotated landmarks and these
            vertices; fits add it.
        jaw_shift: float32 (17, 3), added to the jaw's vertices in written labels.

    Example:
        >>> model = load_head_model("ict_facekit_f16.npz")  # doctest: +SKIP
        >>> model.vertices(np.zeros(model.num_coefficients)).shape  # doctest: +SKIP
        (11251, 3)
    """

    neutral: np.ndarray
    identity: np.ndarray
    expression: np.ndarray
    triangles: np.ndarray
    landmarks: np.ndarray
    annotation_bias: np.ndarray
    jaw_shift: np.ndarray

    @property
    def num_coefficients(self) -> int:
        """Number of offsets of identity and expression."""
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


def load_head_model(path: str | os.PathLike[str]) -> MorphableModel:
    """Reads a head model that `pack_kit` wrote.

    Only the skin is kept (the first 11 248 vertices in the kit's numbering); the holes of eyes and
    mouth are closed by fans of triangles, the neck stays open. The kit's landmarks along the jaw
    are replaced by the positions in the public sets of 3D landmarks, and the model holds how these
    sets' other landmarks differ from the kit's.

    Args:
        path: A file with the arrays `neutral` (V, 3), `identity` (I, V, 3), `expression` (E, V, 3),
            `faces_v` (F, 4) quadrilaterals (triangles repeat a vertex) and `idx_to_landmark_verts`
            (68,).

    Returns:
        The model.

    Raises:
        FaceAlignError: The file is missing, damaged, too large, or its arrays do not fit together.

    Example:
        >>> load_head_model("ict_facekit_f16.npz").landmarks[:3]  # doctest: +SKIP
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
            raise FaceAlignError(f"{path}: {name} has numbers that are not finite; replace it")
    landmarks, faces = arrays["idx_to_landmark_verts"], arrays["faces_v"]
    if landmarks.min() < 0 or landmarks.max() >= skin:
        raise FaceAlignError(
            f"{path}: a landmark is at vertex {landmarks.max()}, which is not skin"
        )
    if faces.size == 0 or faces.min() < 0 or faces.max() >= count:
        raise FaceAlignError(f"{path}: faces_v refers to vertices that do not exist; replace it")
    bias = np.zeros((NUM_LANDMARKS, 3), np.float32)
    jaw_shift = np.zeros((len(IBUG68.regions["jaw"]), 3), np.float32)
    if is_kit(landmarks):
        landmarks = annotated_jaw(landmarks)
        bias, jaw_shift = kit_annotation_bias(), kit_jaw_shift()
    triangles = triangulate(faces[(faces < skin).all(axis=1)])
    if not len(triangles):
        raise FaceAlignError(f"{path}: faces_v has no face of the skin; replace it")
    return _close_holes(
        MorphableModel(
            neutral=parts["neutral"][0],
            identity=parts["identity"],
            expression=parts["expression"],
            triangles=triangles,
            landmarks=landmarks.astype(np.int32),
            annotation_bias=bias,
            jaw_shift=jaw_shift,
        )
    )


def triangulate(quadrilaterals: np.ndarray) -> np.ndarray:
    """Splits quadrilaterals (F, 4) into triangles, one for those with a repeated vertex.

    Returns:
        int32 (T, 3) with the same orientation.
    """
    q = np.asarray(quadrilaterals, np.int32)
    triangles = np.concatenate([q[:, [0, 1, 2]], q[:, [0, 2, 3]]])
    a, b, c = triangles.T
    return triangles[(a != b) & (b != c) & (c != a)]


def _close_holes(model: MorphableModel) -> MorphableModel:
    """Closes every hole except the largest (the neck) by a fan around a new central vertex."""
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
        # A loop has the direction of its triangles; neighboring triangles have the opposite one.
        fans.append(np.stack([np.roll(loop, -1), loop, center], axis=1))
    return replace(
        model,
        neutral=with_centers(model.neutral),
        identity=with_centers(model.identity),
        expression=with_centers(model.expression),
        triangles=np.concatenate([model.triangles, *fans]).astype(np.int32),
    )


def _boundary_loops(triangles: np.ndarray) -> list[np.ndarray]:
    """Closed loops of edges that belong to only one triangle, in the triangles' direction."""
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
