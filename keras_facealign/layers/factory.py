"""Makes blocks by their names."""

from __future__ import annotations

import keras

from keras_facealign.errors import FaceAlignError
from keras_facealign.layers.block import Block
from keras_facealign.layers.channel_aggregation import ChannelAggregationBlock
from keras_facealign.layers.hpm import HPMBlock
from keras_facealign.layers.inception import InceptionBlock
from keras_facealign.layers.resnet import ResNetBlock

BLOCKS: dict[str, type[Block]] = {
    "resnet": ResNetBlock,
    "inception": InceptionBlock,
    "hpm": HPMBlock,
    "cab": ChannelAggregationBlock,
}


def make_block(kind: str, input_channels: int | None, filters: int, name: str) -> Block:
    """Makes a block of a kind, or the one that the original has in its place.

    Args:
        kind: A key of `BLOCKS`.
        input_channels: Channels of its input.
        filters: Channels of its output.
        name: Layer name.

    Returns:
        The block, unbuilt. Where the width changes, a "cab" network has an `HPMBlock` and an
        "inception" network a `ResNetBlock`, as in the original.

    Raises:
        FaceAlignError: If `kind` is unknown.
    """
    if kind not in BLOCKS:
        raise FaceAlignError(f"Unknown block {kind!r}; choose one of: {', '.join(BLOCKS)}.")
    if input_channels != filters:
        kind = {"cab": "hpm", "inception": "resnet"}.get(kind, kind)
    return BLOCKS[kind](filters, name=name)


def max_pool(inputs: keras.KerasTensor) -> keras.KerasTensor:
    """Halves the resolution by the maximum of 2x2 pixels."""
    return keras.ops.max_pool(inputs, 2, strides=2, padding="valid")
