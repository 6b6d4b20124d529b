"""Finding faces: the small interface that any detector fits, and the MTCNN that comes with it.

A detector is a callable that takes one picture, `(H, W, 3)` uint8 RGB, and returns the faces it
finds: a list of `Detection`, or of plain boxes `(x0, y0, x1, y1)` in pixels. A box is the tight box
around the 68 landmarks, from the brows to the chin. Detectors draw their boxes elsewhere, so each
converts its own: a wrapper of a few lines shifts and scales them, as `MTCNNDetector` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from keras_facealign.detection.mtcnn.cascade import find_faces, load_cascade
from keras_facealign.errors import FaceAlignError

__all__ = [
    "Detection",
    "Detector",
    "MTCNNDetector",
    "as_detections",
    "check_box",
    "get_detector",
    "shift_and_scale_box",
]

Detector = Callable[[np.ndarray], Iterable[Any]]
"""A callable from an `(H, W, 3)` uint8 RGB picture to boxes or `Detection`s."""

# Faces narrower than this carry no landmarks, and the crop's scale would overflow.
_MIN_BOX_SIDE = 1.0


@dataclass(frozen=True, eq=False)
class Detection:
    """A face that a detector found.

    Args:
        box: (4,) x0, y0, x1, y1 in image pixels, tight around the landmarks.
        score: The detector's certainty, 0 to 1.
    """

    box: Any
    score: float = 1.0


def check_box(box: Any, image_size: tuple[int, int], name: str) -> np.ndarray:
    """Checks that a box is usable on its picture.

    Args:
        box: Four numbers x0, y0, x1, y1 in pixels.
        image_size: (width, height) of the picture in pixels.
        name: What the error message calls the picture.

    Returns:
        float32 (4,).

    Raises:
        FaceAlignError: If the box is not four finite numbers with x0 < x1 and y0 < y1, is smaller
            than a pixel, or does not touch the picture.
    """
    try:
        values = np.asarray(box, np.float32)
    except (TypeError, ValueError):
        values = np.empty(0, np.float32)
    if values.shape != (4,):
        raise FaceAlignError(
            f"{name}: box {box!r} is not four numbers; give x0, y0, x1, y1 in pixels"
        )
    shown = [float(f"{v:.7g}") for v in values]
    if not np.isfinite(values).all():
        raise FaceAlignError(f"{name}: box {shown} is not finite; give x0, y0, x1, y1 in pixels")
    x0, y0, x1, y1 = values
    if x1 <= x0 or y1 <= y0:
        raise FaceAlignError(
            f"{name}: box {shown} has no area; give x0, y0, x1, y1 with x0 < x1 and y0 < y1"
        )
    if max(x1 - x0, y1 - y0) < _MIN_BOX_SIDE:
        raise FaceAlignError(f"{name}: box {shown} is smaller than a pixel; give it in pixels")
    width, height = image_size
    if x1 <= -0.5 or y1 <= -0.5 or x0 >= width - 0.5 or y0 >= height - 0.5:
        raise FaceAlignError(
            f"{name}: box {shown} lies outside the {width}x{height} image; give it in the pixels "
            "of the upright image"
        )
    return values


def as_detections(found: Any, image_size: tuple[int, int], name: str) -> list[Detection]:
    """Brings what a detector returned, or boxes from the user, into one form.

    Args:
        found: Iterable of `Detection` or of boxes (4,), or an array (N, 4).
        image_size: (width, height) of the picture in pixels.
        name: What error messages call the picture.

    Returns:
        The detections in the given order, each with a float32 (4,) box that was checked.

    Raises:
        FaceAlignError: If `found` is no such list or a box is unusable (see `check_box`).
    """
    try:
        items = list(found)
    except TypeError:
        raise FaceAlignError(
            f"{name}: {type(found).__name__} is not a list of boxes; give an empty list for no face"
        ) from None
    detections = []
    for item in items:
        box, score = (item.box, float(item.score)) if isinstance(item, Detection) else (item, 1.0)
        detections.append(Detection(check_box(box, image_size, name), score))
    return detections


def shift_and_scale_box(box: np.ndarray, shift: tuple[float, float], scale: float) -> np.ndarray:
    """Turns a detector's box into the library's: a square shifted and scaled by the box's size.

    The size of a box is s = sqrt(width * height): over 300W it follows the size of the tight
    landmark box more closely than the longer side does.

    Args:
        box: float (4,) or (N, 4), x0, y0, x1, y1 in pixels.
        shift: What is added to the center's (x, y), in units of s.
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


class MTCNNDetector:
    """Faces by MTCNN (Zhang et al., 2016), with the weights and the boxes of the `mtcnn` package.

    Its three small networks are TFLite files (`keras_facealign/inference/mtcnn`), which LiteRT runs
    or, where that is not installed, the same interpreter inside of TensorFlow; Keras has no part in
    it. They are loaded on the first call.

    MTCNN sees a resized copy of the picture, on which the smallest wanted face is 20 pixels (what
    it was trained for), and whose longer side is at most `max_side` pixels. In a photo of 4096
    pixels the smallest face found is therefore 80 pixels at the default setting.

    MTCNN's boxes run from the forehead to the chin. `SHIFT` and `SCALE` convert them (see
    `shift_and_scale_box`); `benchmarks/fit_detector_box.py` measured them on 300W.

    Args:
        min_face_size: Smallest face to look for, in pixels of the picture.
        threshold: Smallest score of a face, 0 to 1.
        max_side: Longest side of the picture that the detector sees, in pixels.

    Example:
        >>> detector = MTCNNDetector(min_face_size=60)
        >>> faces = detector(image)  # doctest: +SKIP
    """

    SHIFT = (0.004, 0.155)
    SCALE = 0.926

    # MTCNN looks for faces of 20 pixels and up.
    _NATIVE_FACE = 20
    # Its pyramid has no level for a side below this.
    _MIN_SIDE = 48

    def __init__(
        self,
        min_face_size: float = 20,
        threshold: float = 0.8,
        max_side: int = 1024,
    ) -> None:
        if not min_face_size >= 4:
            raise FaceAlignError(f"min_face_size is {min_face_size}; give at least 4 pixels")
        if not 0 <= threshold < 1:
            raise FaceAlignError(f"threshold is {threshold}; give a score from 0 up to below 1")
        if not max_side >= self._MIN_SIDE:
            raise FaceAlignError(f"max_side is {max_side}; give at least {self._MIN_SIDE} pixels")
        self.min_face_size = min_face_size
        self.threshold = threshold
        self.max_side = max_side
        self._cascade: Any = None

    def load(self) -> None:
        """Loads the networks now instead of on the first call.

        Raises:
            FaceAlignError: If neither LiteRT nor TensorFlow is installed.
        """
        if self._cascade is None:
            try:
                self._cascade = load_cascade()
            except ImportError as error:
                raise FaceAlignError(
                    f"MTCNN needs LiteRT or TensorFlow ({error}); run: pip install "
                    '"keras_facealign[litert]", or give boxes or another detector'
                ) from error

    def raw_boxes(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """MTCNN's own boxes, before the conversion to landmark boxes.

        Args:
            image: uint8 (H, W, 3), RGB.

        Returns:
            Boxes float64 (N, 4) in image pixels, not clipped to the picture, and scores (N,), the
            surest face first.

        Raises:
            FaceAlignError: If neither LiteRT nor TensorFlow is installed.
        """
        self.load()
        height, width = image.shape[:2]
        scale = min(self._NATIVE_FACE / self.min_face_size, self.max_side / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        seen = cv2.resize(image, size, interpolation=interpolation) if scale != 1 else image
        bottom, right = (max(0, self._MIN_SIDE - side) for side in seen.shape[:2])
        if bottom or right:
            seen = cv2.copyMakeBorder(seen, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
        boxes, scores = find_faces(seen, self._cascade, self.threshold)
        factor = np.array([width / size[0], height / size[1]] * 2)
        # Half-pixel centers: the pixel x of the resized copy is (x + 0.5) * factor - 0.5 here.
        return (boxes + 0.5) * factor - 0.5, scores

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """Finds the faces of one picture.

        Args:
            image: uint8 (H, W, 3), RGB.

        Returns:
            The faces, the surest first, with boxes in the library's convention.

        Raises:
            FaceAlignError: If neither LiteRT nor TensorFlow is installed.
        """
        boxes, scores = self.raw_boxes(image)
        height, width = image.shape[:2]
        detections = []
        for raw, score in zip(boxes, scores, strict=True):
            x0, y0, x1, y1 = raw
            if not (x1 > x0 and y1 > y0):
                continue
            box = shift_and_scale_box(raw, self.SHIFT, self.SCALE).astype(np.float32)
            center_x, center_y = (box[:2] + box[2:]) / 2
            # A face whose middle is off the picture leaves too little to align.
            if 0 <= center_x <= width - 1 and 0 <= center_y <= height - 1:
                detections.append(Detection(box, float(score)))
        return detections


def get_detector(detector: str | Detector | None) -> Detector | None:
    """Looks a detector up by name.

    Args:
        detector: `"mtcnn"`, any callable (returned as it is), or None for no detector.

    Returns:
        The detector, or None.

    Raises:
        FaceAlignError: If the name is unknown or the object cannot be called.
    """
    if detector is None or callable(detector):
        return detector
    if detector == "mtcnn":
        return MTCNNDetector()
    raise FaceAlignError(
        f"Unknown detector {detector!r}; give 'mtcnn', a callable that returns boxes, or None"
    )
