"""Face detectors behind one interface."""

from keras_facealign.detection.blazeface.detector import BlazeFaceDetector
from keras_facealign.detection.detector import (
    Detection,
    Detector,
    as_detections,
    check_box,
    shift_and_scale_box,
)
from keras_facealign.detection.mtcnn.detector import MTCNNDetector
from keras_facealign.detection.registry import get_detector

__all__ = [
    "BlazeFaceDetector",
    "Detection",
    "Detector",
    "MTCNNDetector",
    "as_detections",
    "check_box",
    "get_detector",
    "shift_and_scale_box",
]
