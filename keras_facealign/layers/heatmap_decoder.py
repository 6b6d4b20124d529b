"""Heatmap decoding as a layer, for graphs whose outputs are landmarks."""

from __future__ import annotations

from typing import Any

import keras

from keras_facealign.ops.heatmap import decode_heatmaps


@keras.saving.register_keras_serializable(package="keras_facealign")
class HeatmapDecoder(keras.layers.Layer):
    """Turns raw heatmaps into landmarks and confidence.

    Args:
        input_size: Side of the network's input in pixels, to which landmarks refer.
        method: A decoding method, see `keras_facealign.ops.decode_heatmaps`.

    Input shape:
        float (B, H, W, K), logits.

    Output shape:
        float32 (B, K, 2), input pixels, x before y; and float32 (B, K), 0 to 1.
    """

    def __init__(self, input_size: int, method: str = "taylor", **kwargs: Any) -> None:
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.input_size = input_size
        self.method = method
        self.built = True

    def call(self, heatmaps: Any) -> tuple[Any, Any]:
        return decode_heatmaps(heatmaps, self.input_size, self.method)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[Any, Any]:
        batch, _, _, landmarks = input_shape
        return (batch, landmarks, 2), (batch, landmarks)

    def compute_output_spec(self, heatmaps: Any) -> tuple[Any, Any]:
        shapes = self.compute_output_shape(heatmaps.shape)
        landmarks, confidence = (keras.KerasTensor(shape, "float32") for shape in shapes)
        return landmarks, confidence

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "input_size": self.input_size, "method": self.method}
