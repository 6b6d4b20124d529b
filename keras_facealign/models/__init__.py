"""Models: a network with its training step and prediction, and the named families."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_facealign._lazy import attach

if TYPE_CHECKING:
    from keras_facealign.models.face_align_model import FaceAlignModel
    from keras_facealign.models.families import (
        DenseUNetFaceAlign,
        DLAFaceAlign,
        HourglassFaceAlign,
        SATFaceAlign,
        UNetFaceAlign,
    )
    from keras_facealign.models.widening import deepen, widen

__all__ = [
    "DLAFaceAlign",
    "DenseUNetFaceAlign",
    "FaceAlignModel",
    "HourglassFaceAlign",
    "SATFaceAlign",
    "UNetFaceAlign",
    "deepen",
    "widen",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "face_align_model": ("FaceAlignModel",),
        "families": (
            "DLAFaceAlign",
            "DenseUNetFaceAlign",
            "HourglassFaceAlign",
            "SATFaceAlign",
            "UNetFaceAlign",
        ),
        "widening": ("deepen", "widen"),
    },
)
