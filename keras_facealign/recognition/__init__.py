"""Face recognition: normalized crops, embeddings of networks, and verification protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_facealign._lazy import attach

if TYPE_CHECKING:
    from keras_facealign.ops.face_normalization import ARCFACE_TEMPLATE, NORMALIZATION_MODES
    from keras_facealign.recognition.embedder import Embedder
    from keras_facealign.recognition.measures import (
        cross_validate,
        equal_error_rate,
        roc,
        roc_auc,
        tar_at_far,
    )
    from keras_facealign.recognition.normalization import (
        FaceNormalizer,
        NormalizedFace,
        box_norm,
        estimate_norm,
        norm_crop,
        normalize_face,
        select_face,
    )
    from keras_facealign.recognition.pairs import (
        VERIFICATION_MODES,
        VERIFICATION_PROTOCOLS,
        PictureEmbeddings,
        VerificationProtocol,
        get_verification_protocol,
        verify,
    )
    from keras_facealign.recognition.report import VerificationReport

__all__ = [
    "ARCFACE_TEMPLATE",
    "NORMALIZATION_MODES",
    "VERIFICATION_MODES",
    "VERIFICATION_PROTOCOLS",
    "Embedder",
    "FaceNormalizer",
    "NormalizedFace",
    "PictureEmbeddings",
    "VerificationProtocol",
    "VerificationReport",
    "box_norm",
    "cross_validate",
    "equal_error_rate",
    "estimate_norm",
    "get_verification_protocol",
    "norm_crop",
    "normalize_face",
    "roc",
    "roc_auc",
    "select_face",
    "tar_at_far",
    "verify",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "embedder": ("Embedder",),
        "measures": ("cross_validate", "equal_error_rate", "roc", "roc_auc", "tar_at_far"),
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
        "pairs": (
            "VERIFICATION_MODES",
            "VERIFICATION_PROTOCOLS",
            "PictureEmbeddings",
            "VerificationProtocol",
            "get_verification_protocol",
            "verify",
        ),
        "report": ("VerificationReport",),
    },
)
