"""Detectors by name."""

from __future__ import annotations

from keras_facealign.detection.detector import Detector
from keras_facealign.detection.mtcnn.detector import MTCNNDetector
from keras_facealign.errors import FaceAlignError


def get_detector(detector: str | Detector | None) -> Detector | None:
    """Looks up a detector by name.

    Args:
        detector: `"mtcnn"`, any callable (returned as is), or None for no detector.

    Returns:
        The detector, or None.

    Raises:
        FaceAlignError: If the name is unknown or the object is not callable.

    Example:
        >>> get_detector("mtcnn").min_face_size
        20
    """
    if detector is None or callable(detector):
        return detector
    if detector == "mtcnn":
        return MTCNNDetector()
    raise FaceAlignError(
        f"Unknown detector {detector!r}; give 'mtcnn', a callable that returns boxes, or None"
    )
