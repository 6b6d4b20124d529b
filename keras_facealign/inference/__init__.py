"""From photos to landmarks: detectors, the aligner, drawing, and files."""

from keras_facealign.inference.aligner import Face, FaceAligner
from keras_facealign.inference.detectors import Detection, Detector, MTCNNDetector
from keras_facealign.inference.drawing import draw_faces
from keras_facealign.inference.head_pose import HeadPose, estimate_head_pose
from keras_facealign.inference.smoothing import OneEuroFilter, Smoothing
from keras_facealign.inference.tracking import FaceTracker, TrackedFace
from keras_facealign.inference.writers import write_face, write_image

__all__ = [
    "Detection",
    "Detector",
    "Face",
    "FaceAligner",
    "FaceTracker",
    "HeadPose",
    "MTCNNDetector",
    "OneEuroFilter",
    "Smoothing",
    "TrackedFace",
    "draw_faces",
    "estimate_head_pose",
    "write_face",
    "write_image",
]
