"""Renders synthetic faces, on which any network can be calibrated and compared.

The mean 3D face is rotated, lit, colored and drawn over a random background. The drawings cannot
replace photos in training, but the bright and dark areas of eyes, brows, nose and mouth are where
photos have them, which is enough for a network's heatmaps to peak.
"""

from __future__ import annotations

import numpy as np

from keras_facealign import geometry
from keras_facealign._opencv import cv2
from keras_facealign.inference.head_pose import rotation_matrix
from keras_facealign.landmarks import mean_face

# Faces are drawn this much larger and then reduced, which smooths the edges.
_SUPERSAMPLE = 2


def render_synthetic_faces(
    count: int,
    size: int,
    seed: int = 0,
    max_angles: tuple[float, float, float] = (45.0, 20.0, 25.0),
    crop_scale: float = geometry.CROP_SCALE,
) -> tuple[np.ndarray, np.ndarray]:
    """Renders faces in square crops around their landmarks, as networks expect them.

    Args:
        count: Number of faces.
        size: Side of the crops in pixels.
        seed: The same seed gives the same faces.
        max_angles: Largest yaw, pitch and roll of the heads in degrees.
        crop_scale: Side of the crops in units of the longer side of the landmarks' box.

    Returns:
        Crops, uint8 (count, size, size, 3), RGB; and their 68 iBUG landmarks, float32 (count, 68,
        2), in pixels of the crops.

    Example:
        >>> crops, landmarks = render_synthetic_faces(2, 128)
        >>> crops.shape, landmarks.shape
        ((2, 128, 128, 3), (2, 68, 2))
    """
    rng = np.random.default_rng(seed)
    drawn = [_render(rng, size, max_angles, crop_scale) for _ in range(count)]
    crops = np.array([crop for crop, _ in drawn], np.uint8).reshape(count, size, size, 3)
    landmarks = np.array([points for _, points in drawn], np.float32).reshape(count, 68, 2)
    return crops, landmarks


def _render(
    rng: np.random.Generator, size: int, max_angles: tuple[float, float, float], crop_scale: float
) -> tuple[np.ndarray, np.ndarray]:
    head = mean_face() * rng.uniform(0.85, 1.15, 3)
    head[48:] += (0, rng.uniform(-0.3, 0.3), 0)
    # Opens the mouth: moves the lower lip and the chin down.
    opening = max(rng.normal(0, 0.8), 0.0)
    head[[55, 56, 57, 58, 59, 65, 66, 67]] += (0, opening, 0)
    head[5:12] += (0, 0.8 * opening, 0)
    rotation = rotation_matrix(*(rng.uniform(-angle, angle) for angle in max_angles))
    points = (head @ rotation.T)[:, :2]
    box = geometry.landmarks_box(points)
    jitter = rng.normal(0, 0.04, 4) * np.tile(box[2:] - box[:2], 2)
    matrix = geometry.crop_matrix(box + jitter, size, crop_scale).astype(np.float64)
    landmarks = geometry.transform_points(matrix, points)

    canvas = _background(rng, size * _SUPERSAMPLE)
    _paint(rng, canvas, (landmarks + 0.5) * _SUPERSAMPLE - 0.5)
    image = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    return _expose(rng, image), landmarks.astype(np.float32)


def _background(rng: np.random.Generator, side: int) -> np.ndarray:
    """Makes smooth blotches of random colors."""
    grid = rng.uniform(0, 255, (int(rng.integers(2, 9)),) * 2 + (3,)).astype(np.float32)
    return cv2.resize(grid, (side, side), interpolation=cv2.INTER_LINEAR)


def _paint(rng: np.random.Generator, canvas: np.ndarray, points: np.ndarray) -> None:
    """Paints a face over its landmarks, in place; float32 RGB."""
    side = len(canvas)
    unit = float(np.ptp(points[:17], axis=0).max()) / 100  # a hundredth of the face
    skin = rng.uniform(0.35, 1.0) * np.array([235, 190, 160]) + rng.normal(0, 12, 3)
    hair = rng.uniform(0, 0.7) * np.array([140, 110, 80])
    lips = skin * (0.85, 0.6, 0.6)

    def fill(outline: np.ndarray, color: np.ndarray) -> None:
        cv2.fillPoly(canvas, [np.rint(outline).astype(np.int32)], color.tolist(), cv2.LINE_AA)

    def line(outline: np.ndarray, color: np.ndarray, width: float, closed: bool = False) -> None:
        corners = [np.rint(outline).astype(np.int32)]
        thickness = max(1, round(width * unit))
        cv2.polylines(canvas, corners, closed, color.tolist(), thickness, cv2.LINE_AA)

    jaw, brows, chin = points[:17], points[17:27], points[8]
    up = brows.mean(0) - chin
    forehead = [brows[i] + lift * up for i, lift in ((9, 0.2), (7, 0.45), (2, 0.45), (0, 0.2))]
    head = np.concatenate([jaw, forehead])
    center = head.mean(0)
    fill((head - center) * 1.14 + 0.12 * up + center, hair)
    neck = np.stack([points[4], points[12], points[12] - 0.8 * up, points[4] - 0.8 * up])
    fill(neck, skin * 0.7)
    fill(head, skin)
    _shade(rng, canvas, head, center)
    for brow in (points[17:22], points[22:27]):
        line(brow, hair * 0.8, rng.uniform(2.5, 5))
    line(points[27:31], skin * 0.85, 3)
    line(points[31:36], skin * 0.5, 2.5)
    for eye in (points[36:42], points[42:48]):
        fill(eye, np.array([235.0, 235.0, 235.0]) * rng.uniform(0.7, 1.0))
        iris = rng.uniform(0, 90, 3)
        radius = max(1, round(0.16 * float(np.linalg.norm(eye[3] - eye[0])) + 0.5 * unit))
        x, y = np.rint(eye.mean(0)).astype(int).tolist()
        cv2.circle(canvas, (x, y), radius, iris.tolist(), -1, cv2.LINE_AA)
        line(eye, skin * 0.35, 1.2, closed=True)
    fill(points[48:60], lips)
    fill(points[60:68], skin * 0.25)
    line(jaw, skin * 0.6, 1.5)
    noise = rng.normal(0, rng.uniform(1, 10), (side // 2, side // 2, 3)).astype(np.float32)
    canvas += cv2.resize(noise, (side, side))


def _shade(
    rng: np.random.Generator, canvas: np.ndarray, head: np.ndarray, center: np.ndarray
) -> None:
    """Lights the head from one side and darkens its rim, in place."""
    side = len(canvas)
    mask = np.zeros((side, side), np.float32)
    cv2.fillPoly(mask, [np.rint(head).astype(np.int32)], [1.0])
    radius = np.ptp(head, axis=0) / 2
    grid = (np.arange(side, dtype=np.float32)[:, None] - center) / radius
    x, y = grid[None, :, 0], grid[:, None, 1]
    slope = rng.normal(0, 0.2, 2)
    light = 1.0 + slope[0] * x + slope[1] * y - 0.25 * np.clip(x * x + y * y, 0, 2)
    canvas *= (1.0 + mask * (np.clip(light, 0.2, 1.5) - 1.0))[..., None]


def _expose(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Changes blur, contrast and brightness, and makes some images gray."""
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.2))
    image = (image - 128) * rng.uniform(0.6, 1.2) + 128 + rng.uniform(-40, 40)
    if rng.uniform() < 0.15:
        image[:] = image.mean(-1, keepdims=True)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
