"""Models: architectures, the training model, and its named families."""

from keras_facealign.models.complexity import count_macs
from keras_facealign.models.face_align_model import FaceAlignModel, Pair
from keras_facealign.models.families import HourglassFaceAlign, SATFaceAlign
from keras_facealign.models.stacked import Architecture, build_network

__all__ = [
    "Architecture",
    "FaceAlignModel",
    "HourglassFaceAlign",
    "Pair",
    "SATFaceAlign",
    "build_network",
    "count_macs",
]
