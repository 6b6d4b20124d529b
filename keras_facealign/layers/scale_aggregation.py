"""Scale aggregation topology (SAT)."""

from __future__ import annotations

from typing import Any

import keras

from keras_facealign.layers.block import Block
from keras_facealign.layers.channel_aggregation import ChannelAggregationBlock
from keras_facealign.layers.common import ConvBatchNorm, batch_norm, he_normal
from keras_facealign.layers.factory import max_pool

__all__ = ["ScaleAggregation"]

_Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="keras_facealign")
class ScaleAggregation(Block):
    """A triangle of nodes that aggregates neighbouring resolutions pair by pair: SAT (III).

    Node (w, h), 1 <= w <= h <= depth + 1, works at 2 ** (h - w) times less than the input's
    resolution. Row h = depth + 1 is the encoder: channel aggregation, max-pooling, channel
    aggregation. A node above averages X, its neighbour of equal resolution, and Y, its neighbour
    of half the resolution brought up by a transposed convolution (w > 1) or by repetition and
    channel aggregation (w = 1). In odd rows, X passes a depth-wise convolution except on the edge
    of the triangle. Source: Stacked Dense U-Nets, section 3.1 and figure 3c; where the released
    code and the paper differ this follows the code, whose checkpoints it can hold.

    Args:
        filters: Channels everywhere, those of the input too; divisible by 8.
        depth: Number of 2x poolings; height and width must be divisible by 2 ** depth.

    Input shape:
        (B, H, W, filters).

    Output shape:
        (B, H, W, filters).

    Example:
        >>> ScaleAggregation(32, depth=3)(keras.ops.zeros((1, 16, 16, 32))).shape
        (1, 16, 16, 32)
    """

    def __init__(self, filters: int, depth: int = 3, **kwargs: Any) -> None:
        super().__init__(filters, **kwargs)
        self.depth = depth

    def build(self, input_shape: _Shape) -> None:
        n = self.depth + 1
        shapes = self._shapes(input_shape)
        self.parts: dict[str, keras.layers.Layer] = {}
        for w in range(self.depth, 0, -1):
            self._add(ChannelAggregationBlock(self.filters, name=f"w{w}_h{n}_1"), shapes[n - w - 1])
            self._add(ChannelAggregationBlock(self.filters, name=f"w{w}_h{n}_2"), shapes[n - w])
        for h in range(self.depth, 0, -1):
            for w in range(h, 0, -1):
                shape = shapes[h - w]
                if h % 2 and h != w:
                    unit = ConvBatchNorm(self.filters, depthwise=True, name=f"w{w}_h{h}_x")
                    self._add(unit, shape)
                if w > 1:
                    deconv = keras.layers.Conv2DTranspose(
                        self.filters,
                        2,
                        strides=2,
                        use_bias=False,
                        kernel_initializer=he_normal(fan_in=self.filters),
                        name=f"upsampling_w{w}_h{h}",
                    )
                    self._add(deconv, shapes[h - w + 1])
                    self._add(batch_norm(f"w{w}_h{h}_y_bn"), shape)
                else:
                    self._add(ChannelAggregationBlock(self.filters, name=f"w{w}_h{h}_4"), shape)
        self.nearest = self._part(keras.layers.UpSampling2D(2, name="nearest"), shapes[-1])
        self.built = True

    def _shapes(self, input_shape: _Shape) -> list[_Shape]:
        """Tensor shape at each resolution level."""
        batch, height, width = input_shape[:3]
        return [
            (batch, height and height // 2**level, width and width // 2**level, self.filters)
            for level in range(self.depth + 1)
        ]

    def _add(self, layer: keras.layers.Layer, shape: _Shape) -> None:
        self.parts[layer.name] = self._part(layer, shape)

    def _raise(self, inputs: Any, w: int, h: int, training: bool | None) -> Any:
        """Brings node (w, h + 1) up to the resolution of node (w, h)."""
        if w > 1:
            y = self.parts[f"upsampling_w{w}_h{h}"](inputs)
            return keras.ops.relu(self.parts[f"w{w}_h{h}_y_bn"](y, training=training))
        return self.parts[f"w{w}_h{h}_4"](self.nearest(inputs), training=training)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        n = self.depth + 1
        row = {n: inputs}
        for w in range(self.depth, 0, -1):
            x = self.parts[f"w{w}_h{n}_1"](row[w + 1], training=training)
            row[w] = self.parts[f"w{w}_h{n}_2"](max_pool(x), training=training)
        for h in range(self.depth, 0, -1):
            above = {}
            for w in range(h, 0, -1):
                x = row[w + 1]
                if h % 2 and h != w:
                    x = self.parts[f"w{w}_h{h}_x"](x, training=training)
                above[w] = (x + self._raise(row[w], w, h, training)) * 0.5
            row = above
        return row[1]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "depth": self.depth}
