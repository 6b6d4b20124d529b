"""Models: a network with its training step and prediction, and the named families."""

from keras_facealign._deprecated import deprecated_names
from keras_facealign.models.face_align_model import FaceAlignModel
from keras_facealign.models.families import (
    DenseUNetFaceAlign,
    DLAFaceAlign,
    HourglassFaceAlign,
    SATFaceAlign,
    UNetFaceAlign,
)
from keras_facealign.models.mobile_face_net import MobileFaceNet
from keras_facealign.models.widening import deepen, make_deformable, rescale, widen

__all__ = [
    "DLAFaceAlign",
    "DenseUNetFaceAlign",
    "FaceAlignModel",
    "HourglassFaceAlign",
    "MobileFaceNet",
    "SATFaceAlign",
    "UNetFaceAlign",
    "deepen",
    "make_deformable",
    "rescale",
    "widen",
]

__getattr__ = deprecated_names(__name__)
