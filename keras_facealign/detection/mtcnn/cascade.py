"""Runs MTCNN's three stages: each network keeps and corrects some of the candidate boxes.

Zhang, Zhang, Li, Qiao: Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
Networks (IEEE Signal Processing Letters, 2016). Constants and order of the steps are those of the
Python package `mtcnn`, whose weights the networks have, so that the boxes are equal.
"""

from __future__ import annotations

import functools
import importlib.resources
import math
from collections.abc import Callable

import numpy as np

from keras_facealign._opencv import cv2
from keras_facealign.runtimes.litert import TFLiteGraph

Cascade = tuple[Callable[[np.ndarray], dict[str, np.ndarray]], ...]
"""PNet, RNet and ONet: functions from float32 images to `boxes` and `scores` (see README.md)."""

_CELL, _STRIDE = 12, 2  # receptive field and stride of PNet in pixels
_SMALLEST_FACE = 20
_PYRAMID_STEP = 0.709
_PNET_SCORE, _RNET_SCORE = 0.6, 0.7
# Largest overlap of two boxes that are both kept: within a level of the pyramid, between levels and
# after RNet, and after ONet.
_LEVEL_OVERLAP, _STAGE_OVERLAP, _FINAL_OVERLAP = 0.5, 0.7, 0.7
_OUTSIDE = 127.5  # gray value outside the image
_BATCH = 64  # patches per call
_ROWS = 256  # boxes per block of the comparison of all pairs


@functools.cache
def load_cascade() -> Cascade:
    """Loads the networks once.

    Raises:
        ImportError: If no interpreter for TFLite files is installed.
    """
    folder = importlib.resources.files("keras_facealign.detection.mtcnn")
    names = ("pnet.tflite", "rnet.tflite", "onet.tflite")
    return tuple(TFLiteGraph((folder / name).read_bytes(), name) for name in names)


def find_faces(
    image: np.ndarray, cascade: Cascade, threshold: float = 0.8
) -> tuple[np.ndarray, np.ndarray]:
    """Finds faces of at least 20 pixels.

    Args:
        image: uint8 (H, W, 3), RGB; H and W at least 48.
        cascade: The networks.
        threshold: Smallest score of a face, 0 to 1.

    Returns:
        Boxes float64 (N, 4), x0, y0, x1, y1 in pixels, which may reach beyond the image, and scores
        (N,), in descending order of the scores.
    """
    pnet, rnet, onet = cascade
    boxes, scores = _propose(image, pnet)
    boxes, scores = _refine(image, boxes, rnet, 24, _RNET_SCORE)
    boxes, scores = _without_overlaps(boxes, scores, _STAGE_OVERLAP)
    boxes, scores = _refine(image, boxes, onet, 48, threshold)
    return _without_overlaps(boxes, scores, _FINAL_OVERLAP, of_smaller=True)


def _propose(
    image: np.ndarray, pnet: Callable[[np.ndarray], dict[str, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """Runs PNet on every level of the pyramid."""
    pixels = image.astype(np.float32)
    found = [(np.zeros((0, 4)), np.zeros(0))]
    for scale in _pyramid(*image.shape[:2]):
        height, width = (int(side * scale) for side in image.shape[:2])
        level = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        output = pnet(level[None])
        scores = output["scores"][0, :, :, 0]
        rows, columns = np.nonzero(scores > _PNET_SCORE)
        corner = np.stack([columns, rows, columns, rows], axis=1) * float(_STRIDE)
        cell = corner + np.array([1, 1, _CELL, _CELL])
        boxes = (cell + output["boxes"][0, rows, columns] * (_CELL - 1.0)) / scale
        found.append(_without_overlaps(boxes, scores[rows, columns], _LEVEL_OVERLAP))
    boxes, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return _without_overlaps(boxes, scores, _STAGE_OVERLAP)


def _pyramid(height: int, width: int) -> list[float]:
    """Computes the scales of the levels, down to about the receptive field of PNet."""
    steps = math.log(min(height, width) / _CELL) / -math.log(_PYRAMID_STEP)
    first = _CELL / _SMALLEST_FACE
    return [first * _PYRAMID_STEP**index for index in range(round(steps - 1))]


def _refine(
    image: np.ndarray,
    boxes: np.ndarray,
    network: Callable[[np.ndarray], dict[str, np.ndarray]],
    size: int,
    threshold: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Keeps the boxes that a network classifies as faces, with its corrections."""
    squares = _square(boxes)
    kept = [(np.zeros((0, 4)), np.zeros(0))]
    for start in range(0, len(squares), _BATCH):
        part = squares[start : start + _BATCH]
        output = network(_patches(image, part, size))
        scores = output["scores"].reshape(-1)
        sides = part[:, 2:] - part[:, :2] + 1
        corrected = part + output["boxes"].reshape(-1, 4) * np.tile(sides, 2)
        accepted = scores > threshold
        kept.append((corrected[accepted], scores[accepted]))
    boxes, scores = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    return boxes, scores


def _square(boxes: np.ndarray) -> np.ndarray:
    """Makes boxes square: the longer side, about the same center."""
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True, initial=0) / 2
    return np.concatenate([center - half, center + half], axis=1)


def _patches(image: np.ndarray, boxes: np.ndarray, size: int) -> np.ndarray:
    """Samples boxes bilinearly: float32 (N, size, size, 3).

    As in TensorFlow's `crop_and_resize`, the first and the last sample lie on the sides of the box,
    and coordinates are scaled by (side - 1) / side of the image.
    """
    height, width = image.shape[:2]
    steps = np.linspace(0.0, 1.0, size)

    def along(low: np.ndarray, high: np.ndarray, side: int) -> tuple[np.ndarray, ...]:
        place = (low[:, None] + steps * (high - low)[:, None]) * ((side - 1) / side)
        inside = (place >= 0) & (place <= side - 1)
        first = np.clip(np.floor(place), 0, side - 1)
        share = (place - first).astype(np.float32)
        first = first.astype(np.intp)
        return first, np.minimum(first + 1, side - 1), share, inside

    left, right, x, inside_x = along(boxes[:, 0], boxes[:, 2], width)
    top, bottom, y, inside_y = along(boxes[:, 1], boxes[:, 3], height)
    x, y = x[:, None, :, None], y[:, :, None, None]

    def row(rows: np.ndarray) -> np.ndarray:
        rows = rows[:, :, None]
        return image[rows, left[:, None]] * (1 - x) + image[rows, right[:, None]] * x

    patches = row(top) * (1 - y) + row(bottom) * y
    inside = inside_y[:, :, None] & inside_x[:, None, :]
    return np.where(inside[..., None], patches, np.float32(_OUTSIDE))


def _without_overlaps(
    boxes: np.ndarray, scores: np.ndarray, most: float, of_smaller: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Drops boxes that overlap one with a higher score, even if that one is dropped as well.

    Args:
        boxes: (N, 4).
        scores: (N,).
        most: Largest overlap that is kept.
        of_smaller: Divide the intersection by the area of the smaller box instead of the union.

    Returns:
        The remaining boxes and scores, in descending order of the scores.
    """
    # Many cells of PNet score exactly 1.0; the `mtcnn` package then prefers the last one.
    order = np.argsort(scores, kind="stable")[::-1]
    boxes, scores = boxes[order], scores[order]
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    stays = np.ones(len(boxes), bool)
    # In blocks, because noise gives thousands of boxes, whose pairs would need gigabytes.
    for start in range(0, len(boxes), _ROWS):
        stop = min(start + _ROWS, len(boxes))
        mine, others = boxes[start:stop, None], boxes[None, :stop]
        sides = np.minimum(mine[..., 2:], others[..., 2:]) - np.maximum(
            mine[..., :2], others[..., :2]
        )
        shared = np.prod(np.maximum(sides, 0), axis=2)
        one, other = area[start:stop, None], area[None, :stop]
        whole = np.minimum(one, other) if of_smaller else one + other - shared
        earlier = np.arange(stop)[None] < np.arange(start, stop)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            stays[start:stop] = ~((shared / whole > most) & earlier).any(axis=1)
    return boxes[stays], scores[stays]
