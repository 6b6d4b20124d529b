"""Runs BlazeFace's networks: an image in, faces with six key points out.

Bazarevsky et al.: BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs (CVPR Workshop on
Computer Vision for AR/VR, 2019). Anchors, decoding and suppression are MediaPipe's.
"""

from __future__ import annotations

import functools
import importlib.resources
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_facealign import geometry
from keras_facealign.runtimes.litert import TFLiteGraph

KEYPOINTS = ("right_eye", "left_eye", "nose", "mouth", "right_ear", "left_ear")
"""Names of the key points; right and left are the person's own."""

# Strides of the maps that have anchors, and anchors in each cell. An anchor is a cell's center: the
# networks have none of different sizes.
_MAPS = {"short_range": ((8, 2), (16, 6)), "full_range": ((4, 1),)}
# Two boxes that overlap more are of the same face.
_SAME_FACE = 0.3


@dataclass(frozen=True, eq=False)
class RawFaces:
    """Faces as the network knows them.

    Args:
        boxes: float64 (N, 4), x0, y0, x1, y1 in pixels: about squares, from the brows to the chin.
        keypoints: float64 (N, 6, 2), pixels, see `KEYPOINTS`.
        scores: float64 (N,), 0 to 1.
    """

    boxes: np.ndarray
    keypoints: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: Any) -> RawFaces:
        return RawFaces(self.boxes[index], self.keypoints[index], self.scores[index])

    @property
    def centers(self) -> np.ndarray:
        """float64 (N, 2), centers of the boxes."""
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2

    @property
    def sides(self) -> np.ndarray:
        """float64 (N,), sides of the squares of the boxes' areas."""
        width, height = (self.boxes[:, 2:] - self.boxes[:, :2]).T
        return np.sqrt(width * height)

    @property
    def rolls(self) -> np.ndarray:
        """float64 (N,), degrees by which the line of the eyes is turned clockwise on the screen."""
        x, y = (self.keypoints[:, 1] - self.keypoints[:, 0]).T
        return np.degrees(np.arctan2(y, x))

    def moved(self, matrix: np.ndarray) -> RawFaces:
        """Moves the faces by a similarity (2, 3); boxes become squares that are not turned."""
        half = self.sides[:, None] / 2 * math.hypot(matrix[0, 0], matrix[1, 0])
        points = np.concatenate([self.centers[:, None], self.keypoints], axis=1)
        points = geometry.transform_points(matrix, points)
        boxes = np.concatenate([points[:, 0] - half, points[:, 0] + half], axis=1)
        return RawFaces(boxes, points[:, 1:], self.scores)

    @staticmethod
    def joined(parts: list[RawFaces]) -> RawFaces:
        """Joins lists of faces."""
        parts = [part for part in parts if len(part)]
        if len(parts) == 1:
            return parts[0]
        empty = RawFaces(np.zeros((0, 4)), np.zeros((0, 6, 2)), np.zeros(0))
        arrays = [(p.boxes, p.keypoints, p.scores) for p in (empty, *parts)]
        return RawFaces(*(np.concatenate(column) for column in zip(*arrays, strict=True)))


class BlazeFaceNetwork:
    """One of BlazeFace's networks.

    Args:
        name: "short_range", which sees 128 x 128 pixels, or "full_range", 192 x 192.

    Raises:
        ImportError: If no interpreter for TFLite files is installed.
    """

    def __init__(self, name: str) -> None:
        path = importlib.resources.files("keras_facealign.detection.blazeface") / f"{name}.tflite"
        self._graph = TFLiteGraph(path.read_bytes(), path.name)
        self.size = self._graph.input_shape[1]
        self._anchors = anchors(name, self.size)

    def __call__(self, view: np.ndarray, threshold: float, one_core: bool = False) -> RawFaces:
        """Finds the faces of one view.

        Args:
            view: uint8 (size, size, 3), RGB.
            threshold: Smallest score of a face, 0 to 1.
            one_core: Whether to use one core alone, as the caller runs several views at a time.

        Returns:
            The faces in pixels of the view, in descending order of their scores.
        """
        images = view[None] * np.float32(1 / 127.5)
        images -= np.float32(1)
        outputs = self._graph.on_one_core(images) if one_core else self._graph(images)
        logits = outputs["scores"][0, :, 0]
        kept = np.flatnonzero(logits >= _logit(threshold))
        # Beyond 80 the exponential of a float32 overflows.
        scores = 1 / (1 + np.exp(-np.clip(logits[kept].astype(np.float64), -80, 80)))
        return suppress(decode(outputs["boxes"][0, kept], self._anchors[kept], scores))


def _logit(score: float) -> float:
    return math.log(score / (1 - score)) if score > 0 else -math.inf


@functools.cache
def load_network(name: str) -> BlazeFaceNetwork:
    """Loads a network once.

    Raises:
        ImportError: If no interpreter for TFLite files is installed.
    """
    return BlazeFaceNetwork(name)


def anchors(name: str, size: int) -> np.ndarray:
    """Computes a network's anchors.

    Args:
        name: "short_range" or "full_range".
        size: Side of the network's input in pixels.

    Returns:
        float64 (N, 2): x, y of the anchors' centers, from the outer edge of the image, in pixels.

    Example:
        >>> anchors("short_range", 128).shape, anchors("full_range", 192).shape
        ((896, 2), (2304, 2))
    """
    parts = []
    for stride, count in _MAPS[name]:
        centers = (np.arange(size // stride) + 0.5) * stride
        x, y = np.meshgrid(centers, centers)
        parts.append(np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), count, axis=0))
    return np.concatenate(parts)


def decode(raw: np.ndarray, centers: np.ndarray, scores: np.ndarray) -> RawFaces:
    """Converts the network's numbers to boxes and key points.

    Args:
        raw: float (N, 16): center, width and height of the box, then the key points; pixels,
            positions relative to the anchor.
        centers: float (N, 2), the anchors.
        scores: float (N,).

    Returns:
        The faces that have an area; (0, 0) is the center of the top-left pixel.
    """
    pairs = raw.reshape(-1, 8, 2).astype(np.float64)
    sides = pairs[:, 1]
    points = pairs + centers[:, None] - 0.5
    boxes = np.concatenate([points[:, 0] - sides / 2, points[:, 0] + sides / 2], axis=1)
    proper = (sides > 0).all(axis=1)
    return RawFaces(boxes[proper], points[proper, 2:], np.asarray(scores, np.float64)[proper])


def suppress(faces: RawFaces) -> RawFaces:
    """Joins faces whose boxes overlap: means weighted by the scores, under the highest score.

    Args:
        faces: Faces in any order.

    Returns:
        The remaining faces, in descending order of their scores.
    """
    if len(faces) < 2:
        return faces
    faces = faces[np.argsort(-faces.scores, kind="stable")]
    values = np.concatenate([faces.boxes, faces.keypoints.reshape(-1, 12)], axis=1)
    left = np.arange(len(faces))
    joined, scores = [], []
    while len(left):
        same = overlaps(faces.boxes[left[0]], faces.boxes[left]) > _SAME_FACE
        same[0] = True
        group, weights = left[same], faces.scores[left[same]]
        joined.append(weights @ values[group] / weights.sum())
        scores.append(weights[0])
        left = left[~same]
    table = np.array(joined)
    return RawFaces(table[:, :4], table[:, 4:].reshape(-1, 6, 2), np.array(scores))


def overlaps(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Computes the intersection over union of a box (4,) with each of (N, 4)."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    width, height = np.maximum(sides, 0).T
    widths, heights = (boxes[:, 2:] - boxes[:, :2]).T
    areas = widths * heights + (box[2] - box[0]) * (box[3] - box[1])
    return width * height / (areas - width * height)
