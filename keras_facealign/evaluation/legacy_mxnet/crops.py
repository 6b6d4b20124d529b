"""Crops and decodes as the original MXNet code does in its evaluation.

Frames: a *record* is a 384 x 384 image whose face fills about the middle 256 pixels; the network
gets a *crop* of 128 x 128 pixels; its *maps* have 64 x 64. All matrices move points from the record
to the crop. The formulas are those of github.com/deepinx/deep-face-alignment (`img_helper.py`,
`data.py`, `test_rec_nme.py`, `metric.py`), float32 where it computes in float32.
"""

from __future__ import annotations

import numpy as np

from keras_facealign.errors import FaceAlignError

RECORD_SIZE, CROP_SIZE, MAP_SIZE = 384, 128, 64

# Eyes, nose and mouth corners of ArcFace's 112 x 112 template.
_TEMPLATE = (
    (38.2946, 41.6963),
    (73.5318, 41.5014),
    (56.0252, 61.7366),
    (41.5493, 82.3655),
    (70.7299, 82.2041),
)

_TOP_MARGINS = {"ibug": 36, "cofw_testset": 45, "300W": 40}
_OTHER_TOP_MARGIN = 30

# Longer side of the labels' tight box in a record that this library makes itself.
_RECORD_FACE = 200.0


def move(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Transforms points (..., 2) by a matrix (2, 3), in float64."""
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Transforms an image by a matrix (2, 3): bilinear, black outside, (size, size, 3)."""
    import cv2

    return cv2.warpAffine(image, matrix, (size, size))


def align_matrix(landmarks: np.ndarray) -> np.ndarray:
    """Finds the similarity that moves eyes, nose and mouth to their places in an aligned record.

    Args:
        landmarks: (68, 2) pixels.

    Returns:
        float64 (2, 3). The fit is Umeyama's (1991), in float32 as the original's.

    Raises:
        FaceAlignError: If the five points coincide.
    """
    p = np.asarray(landmarks, np.float64)
    five = [(p[36] + p[39]) / 2, (p[42] + p[45]) / 2, p[30], p[48], p[54]]
    source = np.array(five, np.float32)
    target = np.array(_TEMPLATE, np.float32) * 2 + 80
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    source, target = source - source_mean, target - target_mean
    spread = source.var(axis=0).sum()
    if not spread > 0:
        raise FaceAlignError("Eyes, nose and mouth coincide; correct the labels or leave them out.")
    u, singular, v = np.linalg.svd(target.T @ source / len(source))
    # A reflection is replaced by the nearest rotation.
    signs = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(v))])
    linear = (u * signs) @ v * (singular @ signs / spread)
    return np.column_stack([linear, target_mean - linear @ source_mean])


def box_matrix(box: np.ndarray, scale: float = 1.2) -> np.ndarray:
    """Makes the matrix of the crop around a box: its center, in whole pixels, moves to (64, 64).

    Args:
        box: (4,) x0, y0, x1, y1 in pixels.
        scale: Side of the cropped square in units of the box's longer side.

    Returns:
        float64 (2, 3).

    Raises:
        FaceAlignError: If the box has no extent.
    """
    x0, y0, x1, y1 = (float(side) for side in box)
    side = max(x1 - x0, y1 - y0)
    if not (np.isfinite(side) and side > 0):
        raise FaceAlignError(f"Box {[x0, y0, x1, y1]} has no extent; correct it or its landmarks.")
    factor = CROP_SIZE / (scale * side)
    half = CROP_SIZE / 2
    x, y = int((x0 + x1) / 2), int((y0 + y1) / 2)
    return np.array([[factor, 0, half - x * factor], [0, factor, half - y * factor]])


def landmarks_matrix(landmarks: np.ndarray, image_set: str = "ibug") -> np.ndarray:
    """Makes the matrix of the crop around the landmarks of an aligned record.

    The box starts some pixels above the brows, where a detector's would: 36 for `"ibug"`, 45 for
    `"cofw_testset"`, 40 for `"300W"` and 30 for any other name.

    Args:
        landmarks: (68, 2) pixels of the aligned record.
        image_set: Name of the set, which determines the margin.

    Returns:
        float64 (2, 3).
    """
    points = np.asarray(landmarks, np.float32).astype(np.float64)
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    y0 = max(y0 - _TOP_MARGINS.get(image_set, _OTHER_TOP_MARGIN), 0)
    return box_matrix(np.array([x0, y0, x1, y1]))


def rotation_matrix(rotation: float, scale: float, center: float = RECORD_SIZE / 2) -> np.ndarray:
    """Makes the matrix of the rotated crop around a record's middle that the original trains on.

    Args:
        rotation: Degrees; positive rotates x towards y.
        scale: Side in record pixels of the square that the crop shows.
        center: The middle, x and y alike.

    Returns:
        float64 (2, 3).
    """
    angle, factor = np.deg2rad(rotation), CROP_SIZE / scale
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]])
    shift = linear @ np.full(2, -center * factor) + CROP_SIZE / 2
    return np.column_stack([linear * factor, shift])


def decode_maps(maps: np.ndarray) -> np.ndarray:
    """Reads landmarks as the original does: bilinear resize to the crop's size, highest pixel.

    Args:
        maps: (64, 64, K), raw.

    Returns:
        float64 (K, 2), whole crop pixels, x before y. Of equal pixels the first in row order.
    """
    import cv2

    channels = np.moveaxis(np.asarray(maps, np.float32), -1, 0)
    large = [cv2.resize(np.ascontiguousarray(m), (CROP_SIZE, CROP_SIZE)) for m in channels]
    rows, columns = np.divmod([m.argmax() for m in large], CROP_SIZE)
    return np.stack([columns, rows], axis=-1).astype(np.float64)


def to_record(
    image: np.ndarray, landmarks: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Crops an image of any size to a record, unless it has a record's size already.

    How the original's records were cropped is not published. Here the tight box of the labels is
    centered and its longer side becomes 200 pixels, which leaves about the published margin in the
    middle 256.

    Args:
        image: uint8 (H, W, 3).
        landmarks: (68, 2) pixels.

    Returns:
        The record, uint8 (384, 384, 3), the landmarks in it, and the matrix (2, 3) from image to
        record.
    """
    if image.shape[:2] == (RECORD_SIZE, RECORD_SIZE):
        return image, np.asarray(landmarks, np.float64), np.eye(3)[:2]
    from keras_facealign.geometry import crop_face, crop_matrix, landmarks_box

    margin = RECORD_SIZE / _RECORD_FACE
    matrix = crop_matrix(landmarks_box(landmarks), RECORD_SIZE, margin).astype(np.float64)
    return crop_face(image, matrix, RECORD_SIZE), move(matrix, landmarks), matrix
