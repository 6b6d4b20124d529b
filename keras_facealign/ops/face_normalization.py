"""Face normalization for recognition: where each mode places a face in a square crop.

All modes share one frame of 112 pixels, that of the ArcFace template (Deng et al., ArcFace, CVPR
2019, and its code, insightface): the mean head is scaled and shifted so that its own five points
fit the template. Functions take NumPy arrays and tensors, as `keras_facealign.geometry` does.

| mode | map |
|---|---|
| `arcface` | similarity of five points to the ArcFace template |
| `box` | the landmarks' box gets the place and the longer side of the mean face's |
| `similarity68` | similarity of all 68 points to the frontal mean face |
| `pose3d` | similarity of all 68 points to the mean head turned by the face's yaw and pitch |
| `frontal3d` | the face seen from the front: read off a 3D head, hidden parts from the other half |
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from keras_facealign.geometry import fit_similarity
from keras_facealign.geometry.affine import array_namespace
from keras_facealign.landmarks import conversion_matrix, mean_face, rigid_weights

NORMALIZATION_MODES = ("arcface", "box", "similarity68", "pose3d", "frontal3d")

ARCFACE_TEMPLATE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
"""(5, 2): eye, eye, nose, mouth corners, from the image's left, in pixels of a 112x112 crop."""

# How squarely a part of the head must face the camera (cosine) to be read without its mirror image.
_FULLY_SEEN = 0.35


@functools.cache
def mean_head() -> np.ndarray:
    """Returns the mean head in the frame of 112 pixels, float64 (68, 3), z away from the camera."""
    head = mean_face()
    five = conversion_matrix("ibug68", "five") @ head[:, :2]
    fitted = fit_similarity(five, ARCFACE_TEMPLATE)
    # The template is not quite symmetric; the head is, and stays upright.
    offset = ARCFACE_TEMPLATE.mean(axis=0) - fitted[0, 0] * five.mean(axis=0)
    return fitted[0, 0] * head + np.append(offset, 0.0)


@functools.cache
def _camera_solver() -> np.ndarray:
    """(4, 68): landmarks to the affine camera of least squares, for x, y, z, 1 of the mean head."""
    head = np.concatenate([mean_head(), np.ones((68, 1))], axis=1)
    weighted = head.T * rigid_weights()
    return np.linalg.solve(weighted @ head, weighted)


def frame_matrix(image_size: int) -> np.ndarray:
    """The matrix, float64 (2, 3), from the frame of 112 pixels to a crop, as in insightface.

    Multiples of 128 show as much of the height as 112 does, and 8 of 128 pixels more at each side.
    """
    shift = 0.0 if image_size % 112 == 0 or image_size % 128 else 8.0
    scale = image_size / (128.0 if shift else 112.0)
    return np.array([[scale, 0.0, shift * scale], [0.0, scale, 0.0]])


def normalization_matrix(landmarks: Any, image_size: int = 112, mode: str = "arcface") -> Any:
    """Computes the similarity from image pixels to those of the crop.

    Args:
        landmarks: float (..., 5, 2) or (..., 68, 2), pixels.
        image_size: Side of the crop in pixels.
        mode: One of `NORMALIZATION_MODES` but `frontal3d`; five points fit `arcface` and `box`.

    Returns:
        float (..., 2, 3); not finite if all landmarks coincide.
    """
    xp = array_namespace(landmarks)
    points = landmarks
    if mode == "arcface" and landmarks.shape[-2] == 68:
        points = _weighted_sums(xp, conversion_matrix("ibug68", "five"), landmarks)
    if mode == "arcface":
        target = _constant(xp, ARCFACE_TEMPLATE)
    elif mode == "pose3d":
        target = _turned_head(xp, points)
    else:
        template = ARCFACE_TEMPLATE if landmarks.shape[-2] == 5 else mean_head()[:, :2]
        target = _constant(xp, template)
    if mode == "box":
        points, target = _square(xp, points), _square(xp, target)
    frame = frame_matrix(image_size)
    # Applied to the template, so that one fit is all.
    scale, offset = float(frame[0, 0]), _constant(xp, frame[:, 2])
    return fit_similarity(points, target * scale + offset)


def frontal_coordinates(landmarks: Any, image_size: int) -> tuple[Any, Any, Any]:
    """Computes where a frontal view reads its pixels: from the face, and from its other half.

    Args:
        landmarks: float (B, 68, 2), pixels.
        image_size: Side S of the crop in pixels.

    Returns:
        Pixels to read, (B, S, S, 2); those of the mirror image; and the weight of the former, (B,
        S, S), 0 to 1, those of the latter being the rest.
    """
    xp = array_namespace(landmarks)
    points, mirrored, normals = (_constant(xp, a) for a in _head_surface(image_size))
    camera = _weighted_sums(xp, _camera_solver(), landmarks)  # (B, 4, 2)
    rotation = _pose(xp, camera)
    # Away from the camera, as z is.
    direction = xp.stack(
        [
            rotation[:, 0, (k + 1) % 3] * rotation[:, 1, (k + 2) % 3]
            - rotation[:, 0, (k + 2) % 3] * rotation[:, 1, (k + 1) % 3]
            for k in range(3)
        ],
        axis=-1,
    )
    seen = [
        xp.clip(-_project(direction[:, :, None], n)[..., 0] / _FULLY_SEEN, 0.0, 1.0)
        for n in (normals, normals * _constant(xp, np.array([-1.0, 1.0, 1.0])))
    ]
    # What neither half shows is read as it is.
    weight = 1.0 - (1.0 - seen[0]) * seen[1]
    return _project(camera, points), _project(camera, mirrored), weight


def frontalize(images: Any, landmarks: Any, image_size: int) -> Any:
    """Frontalizes faces (`frontal3d`) in `keras.ops`; arguments and result as of the layer."""
    from keras import ops

    from keras_facealign.ops.warp import sample_bilinear

    direct, mirrored, weight = frontal_coordinates(landmarks, image_size)
    parts = [sample_bilinear(images, uv[..., 0], uv[..., 1]) for uv in (direct, mirrored)]
    weight = ops.cast(ops.expand_dims(weight, -1), parts[0].dtype)
    return weight * parts[0] + (1 - weight) * parts[1]


def _constant(xp: Any, array: np.ndarray) -> Any:
    return array if xp is np else xp.convert_to_tensor(array, "float32")


def _weighted_sums(xp: Any, weights: np.ndarray, points: Any) -> Any:
    """(N, K) weights and (..., K, 2) points to (..., N, 2), without a matmul of low precision."""
    return xp.sum(_constant(xp, weights[:, :, None]) * points[..., None, :, :], axis=-2)


def _project(camera: Any, points: Any) -> Any:
    """(B, 3 or 4, D) cameras and (H, W, 3) points to (B, H, W, D)."""
    value = sum(camera[:, None, None, k] * points[None, :, :, k : k + 1] for k in range(3))
    return value + camera[:, None, None, 3] if camera.shape[1] == 4 else value


def _pose(xp: Any, camera: Any) -> Any:
    """The first two rows of the rotation, (..., 2, 3), that is nearest to an affine camera."""
    a, b = camera[..., :3, 0], camera[..., :3, 1]
    p, q, r = xp.sum(a * a, axis=-1), xp.sum(a * b, axis=-1), xp.sum(b * b, axis=-1)
    # The polar decomposition: the inverse of the square root of [[p, q], [q, r]], in closed form.
    s = xp.sqrt(xp.maximum(p * r - q * q, 1e-12))
    t = xp.sqrt(p + r + 2 * s)
    p, q, r, s, t = (v[..., None] for v in (p, q, r, s, t))
    rows = [((r + s) * a - q * b) / (s * t), ((p + s) * b - q * a) / (s * t)]
    return xp.stack(rows, axis=-2)


def _turned_head(xp: Any, landmarks: Any) -> Any:
    """The mean head under a face's yaw and pitch, without its roll, (..., 68, 2)."""
    rotation = _pose(xp, _weighted_sums(xp, _camera_solver(), landmarks))
    # Turned in the image until the head's vertical axis points down.
    x, y = rotation[..., 0, 1], rotation[..., 1, 1]
    length = xp.sqrt(xp.maximum(x * x + y * y, 1e-12))
    sin, cos = x / length, y / length
    rows = [
        cos[..., None] * rotation[..., 0, :] - sin[..., None] * rotation[..., 1, :],
        sin[..., None] * rotation[..., 0, :] + cos[..., None] * rotation[..., 1, :],
    ]
    head = mean_head()
    center = head.mean(axis=0)
    turned = [xp.sum(_constant(xp, head - center) * row[..., None, :], axis=-1) for row in rows]
    return xp.stack(turned, axis=-1) + _constant(xp, center[:2])


def _square(xp: Any, points: Any) -> Any:
    """Two opposite corners (..., 2, 2) of the square around the box of points."""
    low, high = xp.min(points, axis=-2), xp.max(points, axis=-2)
    center, half = (low + high) / 2, xp.max(high - low, axis=-1)[..., None] / 2
    return xp.stack([center - half, center + half], axis=-2)


@functools.cache
def _head_surface(image_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The head at the pixels of a frontal crop: points, their mirror images, normals, (S, S, 3).

    The depth is that of a paraboloid, bent by Gaussians around the 68 points to meet them.
    """
    head = mean_head()
    middle = head[27:31, 0].mean()
    scale = np.ptp(head[:, 0]) / 2

    def basis(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        u, v = (x - middle) / scale, (y - head[30, 1]) / scale
        distance = (x[..., None] - head[:, 0]) ** 2 + (y[..., None] - head[:, 1]) ** 2
        smooth = np.stack([np.ones_like(u), v, u * u, v * v], axis=-1)
        return smooth, np.exp(-distance / (2 * (0.3 * scale) ** 2))

    smooth, local = basis(head[:, 0], head[:, 1])
    base = np.linalg.lstsq(smooth, head[:, 2], rcond=None)[0]
    # Regularized: neighboring points of lips and lids must not bend the surface against each other.
    rest = np.linalg.solve(local + 0.1 * np.eye(68), head[:, 2] - smooth @ base)
    frame = frame_matrix(image_size)
    pixels = np.arange(image_size, dtype=np.float64)
    x, y = np.meshgrid((pixels - frame[0, 2]) / frame[0, 0], pixels / frame[1, 1])
    smooth, local = basis(x, y)
    z = smooth @ base + local @ rest
    slope_y, slope_x = np.gradient(z, 1 / frame[1, 1], 1 / frame[0, 0])
    normals = np.stack([slope_x, slope_y, -np.ones_like(z)], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.stack([x, y, z], -1), np.stack([2 * middle - x, y, z], -1), normals
