"""Affine matrices, face boxes and crops, for NumPy arrays and Keras tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_facealign._lazy import attach

if TYPE_CHECKING:
    from keras_facealign.geometry.affine import (
        compose,
        fit_similarity,
        flip_matrix,
        invert,
        resize_matrix,
        similarity,
        transform_points,
        translation_matrix,
        turn_matrix,
    )
    from keras_facealign.geometry.boxes import CROP_SCALE, box_overlap, crop_matrix, landmarks_box
    from keras_facealign.geometry.crops import crop_face

__all__ = [
    "CROP_SCALE",
    "box_overlap",
    "compose",
    "crop_face",
    "crop_matrix",
    "fit_similarity",
    "flip_matrix",
    "invert",
    "landmarks_box",
    "resize_matrix",
    "similarity",
    "transform_points",
    "translation_matrix",
    "turn_matrix",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "affine": (
            "compose",
            "fit_similarity",
            "flip_matrix",
            "invert",
            "resize_matrix",
            "similarity",
            "transform_points",
            "translation_matrix",
            "turn_matrix",
        ),
        "boxes": ("CROP_SCALE", "box_overlap", "crop_matrix", "landmarks_box"),
        "crops": ("crop_face",),
    },
)
