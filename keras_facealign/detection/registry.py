"""Detectors by name."""

from __future__ import annotations

from keras_facealign.detection.blazeface.detector import BlazeFaceDetector
from keras_facealign.detection.detector import Detector
from keras_facealign.detection.mtcnn.detector import MTCNNDetector
from keras_facealign.errors import FaceAlignError

DETECTORS = {
    "auto": BlazeFaceDetector,
    "blazeface": BlazeFaceDetector,
    "mtcnn": MTCNNDetector,
}
"""Name of a detector: its class."""


def get_detector(detector: str | Detector | None) -> Detector | None:
    """Looks up a detector by name.

    Args:
        detector: `"auto"`, the best one here, which is BlazeFace; `"blazeface"`; `"mtcnn"`; any
            callable (returned as is); or None for no detector.

    Returns:
        The detector, or None.

    Raises:
        FaceAlignError: If the name is unknown or the object is not callable.

    Example:
        >>> get_detector("auto").threshold
        0.6
    """
    if detector is None or callable(detector):
        return detector
    if not isinstance(detector, str) or detector not in DETECTORS:
        names = ", ".join(repr(name) for name in DETECTORS)
        raise FaceAlignError(
            f"Unknown detector {detector!r}; give {names}, a callable that returns boxes, or None"
        )
    return DETECTORS[detector]()
