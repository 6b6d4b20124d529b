"""Channel aggregation block (CAB)."""

from __future__ import annotations

from typing import Any

import keras

from keras_facealign.layers.block import Block
from keras_facealign.layers.common import ConvBatchNorm, check_channels, check_same_channels

_COLUMNS = 4


@keras.saving.register_keras_serializable(package="keras_facealign")
class ChannelAggregationBlock(Block):
    """Halves the channels three times, and aggregates the four widths in pairs.

    The block is a triangle of nodes (w, h), 1 <= w <= h <= 4. Along the row h = 4, 3x3 convolutions
    halve the channels from the input at w = 4 down to an eighth at w = 1. A node above averages its
    right neighbor of the row below with its left neighbor, which is half as wide and therefore
    concatenated with itself. In row 3 the right neighbor is first convolved depthwise, except on
    the edge of the triangle. Source: Stacked Dense U-Nets, section 3.2 and
    figure 4.

    Args:
        filters: Channels of input and output, divisible by 8.

    Input shape:
        (B, H, W, filters).

    Output shape:
        (B, H, W, filters).

    Raises:
        FaceAlignError: If the input's channels differ from `filters`. (Where a network widens, the
            original uses an `HPMBlock`.)

    Example:
        >>> tuple(ChannelAggregationBlock(64)(keras.ops.zeros((1, 8, 8, 64))).shape)
        (1, 8, 8, 64)
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        check_channels(self, self.filters, 2 ** (_COLUMNS - 1))
        check_same_channels(self, input_shape[-1], self.filters)
        self.narrowing: list[ConvBatchNorm] = []
        self.lateral: dict[str, ConvBatchNorm] = {}
        for w in range(_COLUMNS - 1, 0, -1):
            unit = ConvBatchNorm(self._width(w), name=f"w{w}_h{_COLUMNS}_1")
            self.narrowing.append(self._part(unit, (*input_shape[:-1], self._width(w + 1))))
        for w, h in self._lateral_nodes():
            unit = ConvBatchNorm(self._width(w + 1), depthwise=True, name=f"w{w}_h{h}_2")
            self.lateral[unit.name] = self._part(unit, (*input_shape[:-1], self._width(w + 1)))
        self.built = True

    def _width(self, w: int) -> int:
        """Returns the channels of node (w, 4)."""
        return self.filters // 2 ** (_COLUMNS - w)

    @staticmethod
    def _lateral_nodes() -> list[tuple[int, int]]:
        """Returns the nodes whose right neighbor is convolved depthwise."""
        return [(w, h) for h in range(_COLUMNS - 1, 0, -1) for w in range(h - 1, 0, -1) if h % 2]

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        row = {_COLUMNS: inputs}
        for w, unit in zip(range(_COLUMNS - 1, 0, -1), self.narrowing, strict=True):
            row[w] = unit(row[w + 1], training=training)
        side = {w: self.lateral[f"w{w}_h3_2"](row[w + 1], training=training) for w in (2, 1)}
        # Above row 3 there are only averages. With r(y) = [y, y], the three rows of them are
        # (x4 + r(x3 + 2 side2 + r(2 x2 + side1 + r(x1)))) / 8. Summed in this order, one addition
        # instead of three has the full width.
        y = row[2] + row[2] + side[1] + _repeat(row[1])
        y = row[3] + side[2] + side[2] + _repeat(y)
        return (row[4] + _repeat(y)) * (1 / 8)


def _repeat(x: Any) -> Any:
    """Joins a tensor with itself: (B, H, W, C) to (B, H, W, 2 C)."""
    return keras.ops.concatenate([x, x], axis=-1)
