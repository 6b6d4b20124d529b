"""Scale aggregation topology (SAT) and deep layer aggregation (DLA)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_facealign.errors import FaceAlignError
from keras_facealign.layers.block import Block
from keras_facealign.layers.channel_aggregation import ChannelAggregationBlock
from keras_facealign.layers.common import ConvBatchNorm, batch_norm, he_normal
from keras_facealign.layers.factory import max_pool
from keras_facealign.layers.upsampling import upsampling

_Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="keras_facealign")
class ScaleAggregation(Block):
    """A triangle of nodes that aggregates neighboring resolutions pair by pair: SAT and DLA.

    Node (w, h), 1 <= w <= h <= depth + 1, has 1 / 2 ** (h - w) of the input's
    resolution. Row h = depth + 1 is the encoder: channel aggregation, max-pooling, channel
    aggregation. A node above averages X, its neighbor of equal resolution, and Y, its neighbor
    of half the resolution, enlarged by a transposed convolution (w > 1) or by up-sampling and
    channel aggregation (w = 1). Source: Stacked Dense U-Nets, section 3.1 and figure 3; where the
    released code and the paper differ this follows the code, whose checkpoints it can load.

    The defaults are SAT (III). `laterals="dense"` is DLA (deep layer aggregation); with
    `downward=True` it is SAT (I), in the paper at depth 4, or SAT (II), at depth 3.

    Args:
        filters: Channels of input, output and all nodes, divisible by 8.
        depth: Number of 2x poolings; height and width must be divisible by 2 ** depth.
        laterals: Layers applied to X: "depthwise" (a depthwise convolution in odd rows, except on
            the edge of the triangle) or "dense" (a convolution in every row).
        downward: Whether nodes inside the triangle also average Z, the neighbor of twice the
            resolution, through a strided convolution and a sigmoid.
        gate: Whether node (2, 3) is multiplied channel by channel by the mean over all pixels of
            its neighbor (3, 3); needs a depth of at least 3.
        learned_upsampling: Whether a learned depthwise kernel doubles the resolution at w = 1, as
            in the code of the paper's time, instead of repeated pixels.

    Input shape:
        (B, H, W, filters).

    Output shape:
        (B, H, W, filters).

    Raises:
        FaceAlignError: If `laterals` is unknown, or `gate` is True and the depth below 3.

    Example:
        >>> tuple(ScaleAggregation(32, depth=3)(keras.ops.zeros((1, 16, 16, 32))).shape)
        (1, 16, 16, 32)
    """

    def __init__(
        self,
        filters: int,
        depth: int = 3,
        laterals: str = "depthwise",
        downward: bool = False,
        gate: bool = False,
        learned_upsampling: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, **kwargs)
        if laterals not in ("depthwise", "dense"):
            raise FaceAlignError(f'laterals is {laterals!r}; choose "depthwise" or "dense".')
        if gate and depth < 3:
            raise FaceAlignError(f"gate=True needs depth=3 or more, got {depth}.")
        self.depth = depth
        self.laterals = laterals
        self.downward = downward
        self.gate = gate
        self.learned_upsampling = learned_upsampling

    def build(self, input_shape: _Shape) -> None:
        n = self.depth + 1
        shapes = self._shapes(input_shape)
        self.parts: dict[str, keras.layers.Layer] = {}
        for w in range(self.depth, 0, -1):
            self._add(ChannelAggregationBlock(self.filters, name=f"w{w}_h{n}_1"), shapes[n - w - 1])
            self._add(ChannelAggregationBlock(self.filters, name=f"w{w}_h{n}_2"), shapes[n - w])
        for h in range(self.depth, 0, -1):
            for w in range(h, 0, -1):
                self._add_node(w, h, shapes)
        self.built = True

    def _add_node(self, w: int, h: int, shapes: list[_Shape]) -> None:
        """Adds the layers of node (w, h), h <= depth."""
        node, shape = f"w{w}_h{h}", shapes[h - w]
        if self.laterals == "dense":
            self._add(ConvBatchNorm(self.filters, name=f"{node}_x"), shape)
        elif h % 2 and h != w:
            self._add(ConvBatchNorm(self.filters, depthwise=True, name=f"{node}_x"), shape)
        if w > 1:
            deconv = keras.layers.Conv2DTranspose(
                self.filters,
                2,
                strides=2,
                use_bias=False,
                kernel_initializer=he_normal(fan_in=self.filters),
                name=f"upsampling_{node}",
            )
            self._add(deconv, shapes[h - w + 1])
            self._add(batch_norm(f"{node}_y_bn"), shape)
        else:
            self._add(upsampling(self.learned_upsampling, f"upsampling_{node}"), shapes[h])
            self._add(ChannelAggregationBlock(self.filters, name=f"{node}_4"), shape)
        if self.downward and h != w:
            unit = ConvBatchNorm(self.filters, activation="sigmoid", strides=2, name=f"{node}_z")
            self._add(unit, shapes[h - w - 1])

    def _shapes(self, input_shape: _Shape) -> list[_Shape]:
        """Returns the tensor shape at each resolution level."""
        batch, height, width = input_shape[:3]
        return [
            (batch, height and height // 2**level, width and width // 2**level, self.filters)
            for level in range(self.depth + 1)
        ]

    def _add(self, layer: keras.layers.Layer, shape: _Shape) -> None:
        self.parts[layer.name] = self._part(layer, shape)

    def _raise(self, inputs: Any, w: int, h: int, training: bool | None) -> Any:
        """Enlarges node (w, h + 1) to the resolution of node (w, h)."""
        y = self.parts[f"upsampling_w{w}_h{h}"](inputs)
        if w > 1:
            return ops.relu(self.parts[f"w{w}_h{h}_y_bn"](y, training=training))
        return self.parts[f"w{w}_h{h}_4"](y, training=training)

    def _encode(self, inputs: Any, training: bool | None) -> dict[int, Any]:
        """Returns the nodes of row h = depth + 1 by w."""
        n = self.depth + 1
        row = {n: inputs}
        for w in range(self.depth, 0, -1):
            x = self.parts[f"w{w}_h{n}_1"](row[w + 1], training=training)
            row[w] = self.parts[f"w{w}_h{n}_2"](max_pool(x), training=training)
        return row

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        row = self._encode(inputs, training)
        for h in range(self.depth, 0, -1):
            above: dict[int, Any] = {}
            for w in range(h, 0, -1):
                x = row[w + 1]
                if f"w{w}_h{h}_x" in self.parts:
                    x = self.parts[f"w{w}_h{h}_x"](x, training=training)
                terms = [x, self._raise(row[w], w, h, training)]
                if f"w{w}_h{h}_z" in self.parts:
                    terms.append(self.parts[f"w{w}_h{h}_z"](above[w + 1], training=training))
                above[w] = sum(terms[1:], terms[0]) * (1.0 / len(terms))
                if self.gate and (w, h) == (2, 3):
                    above[w] = above[w] * ops.mean(above[3], axis=(1, 2), keepdims=True)
            row = above
        return row[1]
