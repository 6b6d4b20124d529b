"""Tensor functions in `keras.ops`: warping images, drawing and decoding heatmaps."""

from keras_facealign.ops.heatmap import (
    DECODE_METHODS,
    decode_heatmaps,
    draw_heatmaps,
    input_to_map,
    local_soft_argmax,
    map_to_input,
)
from keras_facealign.ops.warp import inside_mask, warp_affine

__all__ = [
    "DECODE_METHODS",
    "decode_heatmaps",
    "draw_heatmaps",
    "input_to_map",
    "inside_mask",
    "local_soft_argmax",
    "map_to_input",
    "warp_affine",
]
