"""Keras layers: convolution blocks and the topologies built from them."""

from keras_facealign.layers.channel_aggregation import ChannelAggregationBlock
from keras_facealign.layers.common import ConvBatchNorm
from keras_facealign.layers.factory import BLOCKS, make_block
from keras_facealign.layers.heatmap_decoder import HeatmapDecoder
from keras_facealign.layers.hourglass import Hourglass
from keras_facealign.layers.hpm import HPMBlock
from keras_facealign.layers.resnet import ResNetBlock
from keras_facealign.layers.scale_aggregation import ScaleAggregation

__all__ = [
    "BLOCKS",
    "ChannelAggregationBlock",
    "ConvBatchNorm",
    "HPMBlock",
    "HeatmapDecoder",
    "Hourglass",
    "ResNetBlock",
    "ScaleAggregation",
    "make_block",
]
