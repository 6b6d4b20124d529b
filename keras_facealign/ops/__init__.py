"""Tensor functions: warping, deformable convolution, drawing and decoding heatmaps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_facealign._lazy import attach

if TYPE_CHECKING:
    from keras_facealign.ops.deform_conv import (
        deform_conv2d,
        deform_conv2d_output_size,
        deform_implementation,
        from_torchvision,
        to_torchvision,
    )
    from keras_facealign.ops.face_normalization import (
        ARCFACE_TEMPLATE,
        NORMALIZATION_MODES,
        normalization_matrix,
    )
    from keras_facealign.ops.heatmap import (
        DECODE_METHODS,
        decode_heatmaps,
        draw_heatmaps,
        input_to_map,
        local_soft_argmax,
        map_to_input,
    )
    from keras_facealign.ops.replicas import all_gather, all_sum, exchange
    from keras_facealign.ops.warp import inside_mask, sample_bilinear, warp_affine

__all__ = [
    "ARCFACE_TEMPLATE",
    "DECODE_METHODS",
    "NORMALIZATION_MODES",
    "all_gather",
    "all_sum",
    "decode_heatmaps",
    "deform_conv2d",
    "deform_conv2d_output_size",
    "deform_implementation",
    "draw_heatmaps",
    "exchange",
    "from_torchvision",
    "input_to_map",
    "inside_mask",
    "local_soft_argmax",
    "map_to_input",
    "normalization_matrix",
    "sample_bilinear",
    "to_torchvision",
    "warp_affine",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "deform_conv": (
            "deform_conv2d",
            "deform_conv2d_output_size",
            "deform_implementation",
            "from_torchvision",
            "to_torchvision",
        ),
        "face_normalization": (
            "ARCFACE_TEMPLATE",
            "NORMALIZATION_MODES",
            "normalization_matrix",
        ),
        "heatmap": (
            "DECODE_METHODS",
            "decode_heatmaps",
            "draw_heatmaps",
            "input_to_map",
            "local_soft_argmax",
            "map_to_input",
        ),
        "replicas": ("all_gather", "all_sum", "exchange"),
        "warp": ("inside_mask", "sample_bilinear", "warp_affine"),
    },
)
