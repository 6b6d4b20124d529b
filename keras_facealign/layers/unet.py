"""U-Net topology."""

from __future__ import annotations

import keras

from keras_facealign.layers.common import ConvBatchNorm
from keras_facealign.layers.hourglass import Hourglass


@keras.saving.register_keras_serializable(package="keras_facealign")
class UNet(Hourglass):
    """An hourglass whose lateral connections are 1x1 convolutions instead of whole blocks.

    Stacked Dense U-Nets, figure 2a. There is no released code; this construction (1x1
    convolution, batch norm, ReLU on each lateral) has the size in the paper's Table 1.

    Args:
        filters: Channels of input, output and all blocks.
        depth: Number of 2x poolings; height and width must be divisible by 2 ** depth.
        block: Kind of convolution block, see `make_block`.

    Input shape:
        (B, H, W, filters).

    Output shape:
        (B, H, W, filters).

    Example:
        >>> tuple(UNet(32, depth=3, block="cab")(keras.ops.zeros((1, 16, 16, 32))).shape)
        (1, 16, 16, 32)
    """

    def _lateral(self, channels: int | None, name: str) -> keras.layers.Layer:
        return ConvBatchNorm(self.filters, 1, name=name)
