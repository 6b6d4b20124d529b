"""The interface that every face detector has, and checks of the boxes it returns.

A detector is a callable that takes one image, uint8 `(H, W, 3)` RGB, and returns the faces it
finds: `Detection` objects, or plain boxes `(x0, y0, x1, y1)` in pixels. A box encloses the 68
landmarks tightly, from the brows to the chin. Detectors define their boxes differently, so wrap
each in a few lines that shift and scale its boxes, as `MTCNNDetector` does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from keras_facealign.errors import FaceAlignError

# Narrower faces carry no landmarks, and the scale of their crop would overflow.
_MIN_BOX_SIDE = 1.0


@dataclass(frozen=True, eq=False)
class Detection:
    """A face that a detector found.

    Args:
        box: (4,) x0, y0, x1, y1 in image pixels, tight around the landmarks of the upright face.
        score: The detector's confidence, 0 to 1.
        roll: Degrees by which the face leans clockwise on the screen: the box lies on the face
            when it is turned about its center by this angle.
        keypoints: (6, 2) x, y in image pixels of right eye, left eye, nose, mouth, right ear and
            left ear (right and left are the person's own); None if the detector has none.
    """

    box: Any
    score: float = 1.0
    roll: float = 0.0
    keypoints: Any = None


class Detector(Protocol):
    """A callable that finds the faces of an image."""

    def __call__(self, image: np.ndarray, /) -> Iterable[Any]:
        """Finds faces.

        Args:
            image: uint8 (H, W, 3), RGB.

        Returns:
            `Detection` objects, or boxes (4,).
        """
        ...


def check_box(box: Any, image_size: tuple[int, int], name: str) -> np.ndarray:
    """Checks that a box is usable on its image.

    Args:
        box: Four numbers x0, y0, x1, y1 in pixels.
        image_size: (width, height) of the image in pixels.
        name: Name of the image in error messages.

    Returns:
        float32 (4,).

    Raises:
        FaceAlignError: If the box is not four finite numbers with x0 < x1 and y0 < y1, is smaller
            than a pixel, or does not touch the image.

    Example:
        >>> check_box([10, 20, 40, 60], (640, 480), "photo.jpg")
        array([10., 20., 40., 60.], dtype=float32)
    """
    try:
        values = np.asarray(box, np.float32)
    except (TypeError, ValueError):
        values = np.empty(0, np.float32)
    shown: Any = box
    if values.shape == (4,):
        x0, y0, x1, y1 = shown = values.tolist()
        width, height = image_size
        if not all(map(math.isfinite, shown)):
            problem = "is not finite; give x0, y0, x1, y1 in pixels"
        elif x1 <= x0 or y1 <= y0:
            problem = "has no area; give x0, y0, x1, y1 with x0 < x1 and y0 < y1"
        elif max(x1 - x0, y1 - y0) < _MIN_BOX_SIDE:
            problem = "is smaller than a pixel; give it in pixels"
        elif x1 <= -0.5 or y1 <= -0.5 or x0 >= width - 0.5 or y0 >= height - 0.5:
            problem = (
                f"lies outside the {width}x{height} image; give it in the pixels of the upright "
                "image"
            )
        else:
            return values
        shown = [float(f"{v:.7g}") for v in shown]
    else:
        problem = "is not four numbers; give x0, y0, x1, y1 in pixels"
    raise FaceAlignError(f"{name}: box {shown!r} {problem}")


def as_detections(found: Any, image_size: tuple[int, int], name: str) -> list[Detection]:
    """Converts the results of a detector, or boxes from the user, to checked `Detection` objects.

    Args:
        found: Iterable of `Detection` or of boxes (4,), or an array (N, 4).
        image_size: (width, height) of the image in pixels.
        name: Name of the image in error messages.

    Returns:
        The detections in the given order, each with a float32 (4,) box.

    Raises:
        FaceAlignError: If `found` is not iterable or a box is unusable (see `check_box`).

    Example:
        >>> [d.score for d in as_detections([[10, 20, 40, 60]], (640, 480), "photo.jpg")]
        [1.0]
    """
    try:
        items = list(found)
    except TypeError:
        raise FaceAlignError(
            f"{name}: {type(found).__name__} is not a list of boxes; give an empty list for no face"
        ) from None
    detections = [d if isinstance(d, Detection) else Detection(d) for d in items]
    return [
        replace(d, box=check_box(d.box, image_size, name), score=float(d.score), roll=float(d.roll))
        for d in detections
    ]


def shift_and_scale_box(box: np.ndarray, shift: tuple[float, float], scale: float) -> np.ndarray:
    """Converts a detector's box to the library's: a square, shifted and scaled by the box's size.

    The size of a box is s = sqrt(width * height): over 300W it follows the size of the tight
    landmark box more closely than the longer side does.

    Args:
        box: float (4,) or (N, 4), x0, y0, x1, y1 in pixels.
        shift: Added to the center's (x, y), in units of s.
        scale: Side of the resulting square in units of s.

    Returns:
        float array of the same shape.

    Example:
        >>> shift_and_scale_box(np.array([0.0, 0.0, 10.0, 10.0]), (0.0, 0.1), 0.8)
        array([ 1.,  2.,  9., 10.])
    """
    low, high = box[..., :2], box[..., 2:]
    size = np.sqrt(np.prod(high - low, axis=-1, keepdims=True))
    center = (low + high) / 2 + size * np.asarray(shift)
    return np.concatenate([center - size * scale / 2, center + size * scale / 2], axis=-1)
