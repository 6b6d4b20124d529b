"""From photos to landmarks: detectors, the aligner, drawing, and files."""

from keras_facealign.inference.aligner import Face, FaceAligner
from keras_facealign.inference.detectors import Detection, Detector, MTCNNDetector
from keras_facealign.inference.drawing import draw_faces
from keras_facealign.inference.writers import write_face, write_image

__all__ = [
    "Detection",
    "Detector",
    "Face",
    "FaceAligner",
    "MTCNNDetector",
    "draw_faces",
    "write_face",
    "write_image",
]
