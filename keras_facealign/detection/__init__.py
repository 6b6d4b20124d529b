"""Face detectors behind one interface."""

from keras_facealign.detection.detectors import Detection, Detector, MTCNNDetector

__all__ = ["Detection", "Detector", "MTCNNDetector"]
