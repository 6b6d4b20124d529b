"""Face recognition: normalized crops, embeddings of networks, and verification protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_facealign._lazy import attach

if TYPE_CHECKING:
    from keras_facealign.ops.face_normalization import ARCFACE_TEMPLATE, NORMALIZATION_MODES
    from keras_facealign.recognition.normalization import (
        FaceNormalizer,
        NormalizedFace,
        box_norm,
        estimate_norm,
        norm_crop,
        normalize_face,
        select_face,
    )

__all__ = [
    "ARCFACE_TEMPLATE",
    "NORMALIZATION_MODES",
    "FaceNormalizer",
    "NormalizedFace",
    "box_norm",
    "estimate_norm",
    "norm_crop",
    "normalize_face",
    "select_face",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "normalization": (
            "ARCFACE_TEMPLATE",
            "NORMALIZATION_MODES",
            "FaceNormalizer",
            "NormalizedFace",
            "box_norm",
            "estimate_norm",
            "norm_crop",
            "normalize_face",
            "select_face",
        ),
    },
)
