"""Renders a photo with its head turned: the skin as a mesh, the surroundings as a deformed grid.

The visible skin is rendered at its position on the turned head. The rest of the image is a grid of
squares that is fixed to the head's outline and to the image's border and deforms smoothly in
between (each coordinate is harmonic), so that hair, neck and background follow the head, and
disoccluded areas are filled by stretching their neighborhood. After "face profiling" (Zhu et al.,
Face Alignment Across Large Poses, CVPR 2016).
"""

from __future__ import annotations

import numpy as np

from keras_facealign.data.face_profiling.camera import Camera
from keras_facealign.data.face_profiling.rasterizer import rasterize
from keras_facealign.data.files import import_extra

# Cosines of the viewing angles between which skin fades out.
_FADED, _FULL = 0.02, 0.15
# The outline of a fit is some pixels off, and a rotation would smear the background over the cheek:
# skin is sampled this far inside the outline, in units of the head's height.
_INSET = 0.035
# Skin with a smaller cosine than this is moved, in proportion; less for small rotations (degrees).
_INSET_FROM, _INSET_ANGLE = 0.6, 20.0
# Squares of the grid along the image's longer side, and its margin outside the image.
_SQUARES = 40
_MARGIN = 0.6
# Depth behind other skin up to which skin counts as visible, in units of the head's height.
_TOLERANCE = 0.02
# The grid is rendered at a lower resolution, since it is smooth.
_COARSE = 2


class TurnableFace:
    """An image with a fitted head, which can be rendered from other sides.

    Args:
        image: uint8 (H, W, 3).
        vertices: float (V, 3), the head in the model's units.
        triangles: int (T, 3), counter-clockwise seen from outside.
        camera: The head's projection in the image.

    Example:
        >>> face = TurnableFace(image, vertices, model.triangles, fit.camera)  # doctest: +SKIP
        >>> camera = fit.camera.turned(40, vertices.mean(0))  # doctest: +SKIP
        >>> image = face.render(camera, crop, 256, 256)  # doctest: +SKIP
    """

    def __init__(
        self, image: np.ndarray, vertices: np.ndarray, triangles: np.ndarray, camera: Camera
    ) -> None:
        self._image = image
        self._vertices = vertices
        self._camera = camera
        self._triangles = triangles
        self._pixels = camera.project(vertices)
        height, width = image.shape[:2]
        normals = _vertex_normals(self._pixels, triangles)
        self._shown = _shown(self._pixels, triangles, normals[:, 2], height, width)
        steep = np.clip(1.0 - normals[:, 2] / _INSET_FROM, 0.0, 1.0)[:, None]
        self._inset = -_INSET * np.ptp(self._pixels[:, 1]) * steep * normals[:, :2]
        self._fit_grid()

    def render(self, camera: Camera, crop: np.ndarray, height: int, width: int) -> np.ndarray:
        """Renders the face from another camera.

        Args:
            camera: The other camera; the image's own camera reproduces the image.
            crop: float (2, 3), from the image's pixels to those of the result.
            height: Height of the result in pixels.
            width: Width of the result in pixels.

        Returns:
            uint8 (height, width, 3).
        """
        head = camera.project(self._vertices)
        skin = self._triangles[facing(head, self._triangles) > 0]
        front = rasterize(_cropped(head, crop), skin, height, width)
        turn = camera.rotation @ self._camera.rotation.T
        angle = np.degrees(np.arccos(np.clip(0.5 * (np.trace(turn) - 1.0), -1.0, 1.0)))
        places = self._pixels[:, :2] + min(1.0, angle / _INSET_ANGLE) * self._inset
        values = front.interpolate(skin, np.column_stack([places, self._shown]))
        opacity = np.where(front.triangle >= 0, values[..., 2], 0.0)[..., None]
        behind = self._sampled(self._grid_places(camera, crop, height, width))
        image = behind + opacity * (self._sampled(values[..., :2]) - behind)
        return np.rint(image).astype(np.uint8)

    def _grid_places(self, camera: Camera, crop: np.ndarray, height: int, width: int) -> np.ndarray:
        """float32 (height, width, 2): position in the image that the grid maps to each pixel."""
        import cv2

        rows, columns = -(-height // _COARSE), -(-width // _COARSE)
        coarse = crop / _COARSE
        coarse[:, 2] += 0.5 / _COARSE - 0.5
        seen = rasterize(_cropped(self._bent(camera), coarse), self._squares, rows, columns)
        places = seen.interpolate(self._squares, self._nodes[:, :2])
        # Outside the grid the image does not move.
        y, x = np.mgrid[:rows, :columns]
        still = np.stack([x, y], axis=-1) - coarse[:, 2]
        still = still @ np.linalg.inv(coarse[:, :2]).T
        places = np.where((seen.triangle >= 0)[..., None], places, still).astype(np.float32)
        places = cv2.resize(
            places, (columns * _COARSE, rows * _COARSE), interpolation=cv2.INTER_LINEAR
        )
        return places[:height, :width]

    def _sampled(self, places: np.ndarray) -> np.ndarray:
        """float32 (height, width, 3): the image sampled at these positions."""
        import cv2

        x, y = (np.ascontiguousarray(places[..., i], np.float32) for i in (0, 1))
        drawn = cv2.remap(self._image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return drawn.astype(np.float32)

    def _bent(self, camera: Camera) -> np.ndarray:
        """(N, 3): the grid's nodes projected by another camera."""
        origin = np.zeros(3)
        shift = camera.project(origin) - self._camera.project(origin)
        move = camera.project(self._held) - self._camera.project(self._held)
        # `project` is affine: each node moves by its share of the shift.
        return self._nodes + (move - shift) + self._share[:, None] * shift

    def _fit_grid(self) -> None:
        """Makes the grid and computes how much the head moves each of its nodes."""
        height, width = self._image.shape[:2]
        step = max(height, width) / _SQUARES
        margin = _MARGIN * max(height, width)
        columns = int(np.ceil((width + 2 * margin) / step)) + 1
        rows = int(np.ceil((height + 2 * margin) / step)) + 1
        x, y = np.meshgrid(np.arange(columns) * step - margin, np.arange(rows) * step - margin)
        index = np.arange(rows * columns).reshape(rows, columns)
        a, b, c, d = (
            part.ravel()
            for part in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:])
        )
        self._squares = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])
        in_nodes = self._pixels / [step, step, 1.0] + [margin / step, margin / step, 0.0]
        skin = self._triangles[facing(self._pixels, self._triangles) > 0]
        seen = rasterize(in_nodes, skin, rows, columns)
        covered = seen.triangle >= 0
        farthest = float(self._pixels[:, 2].min())
        depth = np.where(covered, seen.depth, farthest)
        place = self._camera.lift(np.stack([x, y, depth], axis=-1))
        # Five numbers per node: the position on the head it follows, its share, and its depth.
        values = np.concatenate([place, np.ones((rows, columns, 1)), depth[..., None]], axis=-1)
        values[~covered, :4] = 0.0
        fixed = covered.copy()
        fixed[[0, -1]] = fixed[:, [0, -1]] = True
        values = _harmonic(values, fixed).reshape(-1, 5)
        self._held, self._share = values[:, :3], values[:, 3]
        self._nodes = np.column_stack([x.ravel(), y.ravel(), values[:, 4]])


def _vertex_normals(pixels: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """float64 (V, 3): outward unit normals; z towards the viewer, y down."""
    a, b, c = pixels[triangles].transpose(1, 0, 2)
    across = np.cross(c - a, b - a)
    normals = np.stack(
        [
            np.bincount(triangles.ravel(), np.repeat(across[:, axis], 3), len(pixels))
            for axis in range(3)
        ],
        axis=1,
    )
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def _shown(
    pixels: np.ndarray, triangles: np.ndarray, slope: np.ndarray, height: int, width: int
) -> np.ndarray:
    """float (V,): opacity of each vertex, 0 for hidden skin and 1 for skin that is well visible.

    `slope` is the cosine between a vertex's normal and the direction to the viewer.
    """
    fade = np.clip((slope - _FADED) / (_FULL - _FADED), 0.0, 1.0)
    seen = rasterize(pixels, triangles[facing(pixels, triangles) > 0], height, width)
    column = np.rint(pixels[:, 0]).astype(int).clip(0, width - 1)
    row = np.rint(pixels[:, 1]).astype(int).clip(0, height - 1)
    tolerance = _TOLERANCE * np.ptp(pixels[:, 1])
    hidden = pixels[:, 2] < seen.depth[row, column] - tolerance
    # Neighbors of hidden vertices are hidden too.
    hidden[triangles[hidden[triangles].any(axis=1)]] = True
    return np.where(hidden, 0.0, fade)


def facing(pixels: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """float (T,): cosine between triangles' outward normals and the direction to the viewer.

    Args:
        pixels: float (V, 3), vertices as `Camera.project` gives them.
        triangles: int (T, 3), counter-clockwise seen from outside.
    """
    a, b, c = pixels[triangles].transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    # The image's y axis points down, which reverses the orientation.
    return -normal[:, 2] / np.maximum(np.linalg.norm(normal, axis=1), 1e-12)


def visible_landmarks(
    pixels: np.ndarray, triangles: np.ndarray, landmarks: np.ndarray, tolerance: float
) -> np.ndarray:
    """Determines which landmarks of a head are visible and which it hides itself.

    Args:
        pixels: float (V, 3), vertices as `Camera.project` gives them.
        triangles: int (T, 3), all of the head.
        landmarks: int (K,), vertices.
        tolerance: Depth in pixels by which skin may be in front of a visible landmark.

    Returns:
        int32 (K,): 2 visible, 1 hidden.
    """
    marks = pixels[landmarks]
    low = np.floor(pixels[:, :2].min(axis=0))
    extent = np.ptp(pixels[:, :2], axis=0).max()
    # A depth map of 160 pixels across the head is sufficient.
    scale = 160.0 / max(float(extent), 1e-9)
    moved = np.column_stack([(pixels[:, :2] - low) * scale + 1.0, pixels[:, 2]])
    front = triangles[facing(pixels, triangles) > 0]
    depth = rasterize(moved, front, 164, 164).depth
    column, row = np.rint(moved[landmarks, :2]).astype(int).clip(1, 162).T
    # The farthest depth of a pixel's neighbors, so that landmarks on the outline are visible.
    around = np.stack([depth[row + i, column + j] for i in (-1, 0, 1) for j in (-1, 0, 1)])
    return np.where(marks[:, 2] >= around.min(axis=0) - tolerance, 2, 1).astype(np.int32)


def _cropped(pixels: np.ndarray, crop: np.ndarray) -> np.ndarray:
    return np.column_stack([pixels[:, :2] @ crop[:, :2].T + crop[:, 2], pixels[:, 2]])


def _harmonic(values: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Fills a grid smoothly between its fixed nodes: other nodes are the mean of their neighbors.

    Args:
        values: float (H, W, C).
        fixed: bool (H, W), true at least on the border.
    """
    sparse, linalg = import_extra("scipy.sparse"), import_extra("scipy.sparse.linalg")
    free = np.flatnonzero(~fixed)
    if not len(free):
        return values
    height, width, channels = values.shape
    number = np.full(height * width, -1)
    number[free] = np.arange(len(free))
    flat = values.reshape(-1, channels)
    right = np.zeros((len(free), channels))
    rows, columns = [np.arange(len(free))], [np.arange(len(free))]
    entries = [np.full(len(free), 4.0)]
    for step in (-width, width, -1, 1):
        neighbor = free + step
        inside = number[neighbor] >= 0
        rows.append(np.flatnonzero(inside))
        columns.append(number[neighbor[inside]])
        entries.append(np.full(int(inside.sum()), -1.0))
        right[~inside] += flat[neighbor[~inside]]
    matrix = sparse.coo_matrix(
        (np.concatenate(entries), (np.concatenate(rows), np.concatenate(columns)))
    ).tocsc()
    filled = flat.copy()
    filled[free] = linalg.spsolve(matrix, right).reshape(-1, channels)
    return filled.reshape(values.shape)
