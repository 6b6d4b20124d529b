"""Drawing faces onto a copy of their picture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.inference.aligner import Face
from keras_facealign.landmarks import IBUG68, LandmarkScheme

__all__ = ["REGION_COLORS", "draw_faces"]

REGION_COLORS: dict[str, tuple[int, int, int]] = {
    "jaw": (64, 196, 255),
    "right_brow": (255, 179, 64),
    "left_brow": (255, 179, 64),
    "nose_bridge": (178, 132, 255),
    "nostrils": (178, 132, 255),
    "right_eye": (92, 230, 128),
    "left_eye": (92, 230, 128),
    "outer_lip": (255, 92, 138),
    "inner_lip": (255, 152, 180),
    # Of other schemes.
    "right_pupil": (92, 230, 128),
    "left_pupil": (92, 230, 128),
    "right_iris": (92, 230, 128),
    "left_iris": (92, 230, 128),
    "right_eye_center": (92, 230, 128),
    "left_eye_center": (92, 230, 128),
}
"""RGB color of each facial region; both sides of the face share theirs."""

_OTHER_COLOR: tuple[int, int, int] = (235, 235, 235)
_BOX_COLOR = (235, 235, 235)

# cv2 takes coordinates as integers with this many bits after the binary point.
_BITS = 5
# Coordinates are kept this close to the picture: far ones overflow cv2's integers.
_FARTHEST = 2.0


def draw_faces(
    image: np.ndarray,
    faces: Iterable[Face],
    scheme: LandmarkScheme = IBUG68,
    min_confidence: float = 0.2,
    boxes: bool = False,
    edges: bool = True,
    thickness: float = 1.0,
) -> np.ndarray:
    """Draws landmarks, colored by facial region and sized to the face.

    A landmark whose confidence is below `min_confidence` is drawn as a pale hollow ring, and the
    lines that end in it are drawn pale.

    Args:
        image: uint8 (H, W, 3), RGB.
        faces: The faces, with landmarks in pixels of the image.
        scheme: What the landmarks are, which gives lines and colors.
        min_confidence: Confidence, 0 to 1, from which a landmark is drawn solid.
        boxes: Whether to draw the box that each face was cropped by.
        edges: Whether to join the landmarks by lines.
        thickness: Factor on the size of dots and lines.

    Returns:
        uint8 (H, W, 3), RGB: a new picture.

    Raises:
        FaceAlignError: If the image is not uint8 (H, W, 3), or a face's landmarks are not of the
            scheme.

    Example:
        >>> overlay = draw_faces(image, aligner.align(image))  # doctest: +SKIP
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise FaceAlignError(
            f"draw_faces got an image of dtype {image.dtype} and shape {image.shape}; "
            "give uint8 (H, W, 3)"
        )
    canvas = np.array(image, order="C")
    colors = _point_colors(scheme)
    for face in faces:
        if np.shape(face.landmarks) != (scheme.num_landmarks, 2):
            raise FaceAlignError(
                f"draw_faces got landmarks of shape {np.shape(face.landmarks)}; scheme "
                f"{scheme.name} has {scheme.num_landmarks} points"
            )
        _draw_face(canvas, face, scheme, colors, min_confidence, boxes, edges, thickness)
    return canvas


def _point_colors(scheme: LandmarkScheme) -> list[tuple[int, int, int]]:
    colors = [_OTHER_COLOR] * scheme.num_landmarks
    for region, points in scheme.regions.items():
        for point in points:
            colors[point] = REGION_COLORS.get(region, _OTHER_COLOR)
    return colors


def _draw_face(
    canvas: np.ndarray,
    face: Face,
    scheme: LandmarkScheme,
    colors: list[tuple[int, int, int]],
    min_confidence: float,
    boxes: bool,
    edges: bool,
    thickness: float,
) -> None:
    points = np.asarray(face.landmarks, np.float64)
    known = np.asarray(np.isfinite(points).all(axis=1))
    if not known.any():
        return
    solid = np.asarray(np.asarray(face.confidence) >= min_confidence)
    size = float(np.ptp(points[known], axis=0).max())
    radius = max(1.2, size / 90) * thickness
    line = max(1, round(size / 220 * thickness))
    if boxes:
        x0, y0, x1, y1 = np.asarray(face.box, np.float64)
        corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
        cv2.polylines(canvas, [_fixed(corners, canvas)], True, _BOX_COLOR, line, cv2.LINE_AA, _BITS)
    fixed = _fixed(points, canvas)
    for a, b in scheme.edges if edges else ():
        if known[a] and known[b]:
            color = colors[b] if solid[a] and solid[b] else _pale(colors[b])
            cv2.line(canvas, _pair(fixed[a]), _pair(fixed[b]), color, line, cv2.LINE_AA, _BITS)
    disc = round(radius * (1 << _BITS))
    for index in np.flatnonzero(known):
        at = _pair(fixed[index])
        if solid[index]:
            cv2.circle(canvas, at, disc, colors[index], cv2.FILLED, cv2.LINE_AA, _BITS)
        else:
            cv2.circle(canvas, at, disc, _pale(colors[index]), 1, cv2.LINE_AA, _BITS)


def _fixed(points: np.ndarray, canvas: np.ndarray) -> np.ndarray:
    """Points as cv2's fixed-point integers, clipped to the surroundings of the picture."""
    limit = _FARTHEST * max(canvas.shape[:2])
    finite = np.nan_to_num(points, nan=0.0)
    return np.rint(np.clip(finite, -limit, limit) * (1 << _BITS)).astype(np.int32)


def _pair(point: np.ndarray) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def _pale(color: tuple[int, int, int]) -> Any:
    """Half way to gray."""
    return tuple((c + 190) // 2 for c in color)
