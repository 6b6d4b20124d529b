"""Draws faces onto a copy of their image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_facealign import geometry
from keras_facealign._opencv import cv2
from keras_facealign.errors import FaceAlignError
from keras_facealign.inference.aligner import Face
from keras_facealign.landmarks import IBUG68, LandmarkScheme

_BROW, _NOSE, _EYE = (255, 179, 64), (178, 132, 255), (92, 230, 128)

REGION_COLORS: dict[str, tuple[int, int, int]] = {
    "jaw": (64, 196, 255),
    "nose_bridge": _NOSE,
    "nostrils": _NOSE,
    "outer_lip": (255, 92, 138),
    "inner_lip": (255, 152, 180),
    **{f"{side}_brow": _BROW for side in ("right", "left")},
    **{
        f"{side}_{part}": _EYE
        for side in ("right", "left")
        for part in ("eye", "pupil", "iris", "eye_center")
    },
}
"""RGB color of each facial region; both sides of the face share theirs."""

# For regions of a scheme of one's own: by a word in their name, else one after the other.
_WORD_COLORS = {
    "jaw": REGION_COLORS["jaw"],
    "brow": _BROW,
    "nose": _NOSE,
    "eye": _EYE,
    "mouth": REGION_COLORS["outer_lip"],
    "lip": REGION_COLORS["outer_lip"],
}
_GRAY: tuple[int, int, int] = (235, 235, 235)  # boxes, numbers, and landmarks of no region

# cv2 takes coordinates as integers with this many bits after the binary point.
_BITS = 5
# Coordinates are clipped to this many image sizes: larger ones overflow cv2's integers.
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
    """Draws landmarks, colored by facial region and scaled to the face.

    A landmark whose confidence is below `min_confidence` is drawn as a pale ring, and the lines
    that end in it are drawn pale. So are all landmarks of a face that is not reliable.

    Args:
        image: uint8 (H, W, 3), RGB.
        faces: The faces, with landmarks in pixels of the image.
        scheme: The landmark scheme, which defines lines and colors.
        min_confidence: Confidence, 0 to 1, from which a landmark is drawn solid.
        boxes: Whether to draw the box that each face was cropped by.
        edges: Whether to connect the landmarks by lines.
        thickness: Factor on the size of dots and lines.

    Returns:
        uint8 (H, W, 3), RGB: a new image.

    Raises:
        FaceAlignError: If the image is not uint8 (H, W, 3), or the landmarks of a face do not match
            the scheme.

    Example:
        >>> face = Face(np.random.rand(68, 2) * 100, np.ones(68), np.array([0, 0, 100, 100]))
        >>> draw_faces(np.zeros((100, 100, 3), np.uint8), [face]).shape
        (100, 100, 3)
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise FaceAlignError(
            f"draw_faces got an image of dtype {image.dtype} and shape {image.shape}; "
            "give uint8 (H, W, 3)"
        )
    canvas = np.array(image, order="C")
    for face in faces:
        if np.shape(face.landmarks) != (scheme.num_landmarks, 2):
            raise FaceAlignError(
                f"draw_faces got landmarks of shape {np.shape(face.landmarks)}; scheme "
                f"{scheme.name} has {scheme.num_landmarks} points"
            )
        _draw_face(canvas, face, scheme, min_confidence, boxes, edges, thickness)
    return canvas


def draw_tracked(
    image: np.ndarray, faces: Iterable[Any], scheme: LandmarkScheme = IBUG68
) -> np.ndarray:
    """Draws the landmarks of a video frame's faces, and each face's number above it.

    Args:
        image: uint8 (H, W, 3), RGB.
        faces: The `TrackedFace`s of the frame.
        scheme: The landmark scheme.

    Returns:
        uint8 (H, W, 3), RGB: a new image.

    Example:
        >>> overlay = draw_tracked(frame.image, tracker.update(frame.image))  # doctest: +SKIP
    """
    faces = list(faces)
    canvas = draw_faces(image, faces, scheme)
    font, style = cv2.FONT_HERSHEY_SIMPLEX, cv2.LINE_AA
    for face in faces:
        low, high = face.landmarks.min(axis=0), face.landmarks.max(axis=0)
        extent = float((high - low).max())
        scale, width = max(0.4, extent / 250), max(1, round(extent / 120))
        limits = np.array([image.shape[1] - 1, image.shape[0] - 1])
        at = _pair(np.clip(np.array([low[0], low[1] - 0.06 * extent]), 0, limits))
        for color, stroke in (((20, 20, 20), 2 * width + 1), (_GRAY, width)):
            cv2.putText(canvas, str(face.id), at, font, scale, color, stroke, style)
    return canvas


def _draw_face(
    canvas: np.ndarray,
    face: Face,
    scheme: LandmarkScheme,
    min_confidence: float,
    boxes: bool,
    edges: bool,
    thickness: float,
) -> None:
    points = np.asarray(face.landmarks, np.float64)
    known = np.asarray(np.isfinite(points).all(axis=1))
    if not known.any():
        return
    colors = [_GRAY] * scheme.num_landmarks
    for number, (region, indices) in enumerate(scheme.regions.items()):
        for index in indices:
            colors[index] = _region_color(region, number)
    solid = (np.asarray(face.confidence) >= min_confidence) & face.reliable
    size = float(np.ptp(points[known], axis=0).max())
    radius = max(1.2, size / 90) * thickness
    line = max(1, round(size / 220 * thickness))
    if boxes:
        x0, y0, x1, y1 = np.asarray(face.box, np.float64)
        corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
        turn = geometry.turn_matrix(face.roll, ((x0 + x1) / 2, (y0 + y1) / 2))
        corners = geometry.transform_points(turn, corners)
        cv2.polylines(canvas, [_fixed(corners, canvas)], True, _GRAY, line, cv2.LINE_AA, _BITS)
    fixed = _fixed(points, canvas)
    for a, b in scheme.edges if edges else ():
        if known[a] and known[b]:
            color = colors[b] if solid[a] and solid[b] else _pale(colors[b])
            cv2.line(canvas, _pair(fixed[a]), _pair(fixed[b]), color, line, cv2.LINE_AA, _BITS)
    disc = round(radius * (1 << _BITS))
    for index in np.flatnonzero(known):
        color = colors[index] if solid[index] else _pale(colors[index])
        fill = cv2.FILLED if solid[index] else 1
        cv2.circle(canvas, _pair(fixed[index]), disc, color, fill, cv2.LINE_AA, _BITS)


def _region_color(region: str, number: int) -> tuple[int, int, int]:
    """The color of a region: its own, that of a word in its name, or one by its number."""
    if region in REGION_COLORS:
        return REGION_COLORS[region]
    if region == "points":  # the only region of nameless points
        return _GRAY
    palette = list(_WORD_COLORS.values())[:5]
    found = (color for word, color in _WORD_COLORS.items() if word in region.lower())
    return next(found, palette[number % len(palette)])


def _fixed(points: np.ndarray, canvas: np.ndarray) -> np.ndarray:
    """Converts points to cv2's fixed-point integers, clipped to the surroundings of the image."""
    limit = _FARTHEST * max(canvas.shape[:2])
    finite = np.nan_to_num(points, nan=0.0)
    return np.rint(np.clip(finite, -limit, limit) * (1 << _BITS)).astype(np.int32)


def _pair(point: np.ndarray) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def _pale(color: tuple[int, int, int]) -> Any:
    """Mixes a color half and half with gray."""
    return tuple((c + 190) // 2 for c in color)
