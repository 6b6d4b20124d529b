"""Models: architectures, the training model, and its named families."""

from keras_facealign.models.architecture import Architecture
from keras_facealign.models.complexity import count_macs
from keras_facealign.models.face_align_model import FaceAlignModel, Pair
from keras_facealign.models.families import (
    DenseUNetFaceAlign,
    DLAFaceAlign,
    HourglassFaceAlign,
    SATFaceAlign,
    UNetFaceAlign,
)
from keras_facealign.models.landmark_offset import measure_landmark_offset
from keras_facealign.models.stacked import Network, build_network
from keras_facealign.models.training_settings import (
    COHERENT_TERMS,
    TRAINING_RECIPES,
    CoherentTerm,
)
from keras_facealign.models.widening import deepen, widen

__all__ = [
    "COHERENT_TERMS",
    "TRAINING_RECIPES",
    "Architecture",
    "CoherentTerm",
    "DLAFaceAlign",
    "DenseUNetFaceAlign",
    "FaceAlignModel",
    "HourglassFaceAlign",
    "Network",
    "Pair",
    "SATFaceAlign",
    "UNetFaceAlign",
    "build_network",
    "count_macs",
    "deepen",
    "measure_landmark_offset",
    "widen",
]
