"""Keras layers: convolution blocks and the topologies built from them."""

from keras_facealign.layers.angular_margin import ArcFace, CosFace
from keras_facealign.layers.batch_norm import BatchNormalization
from keras_facealign.layers.channel_aggregation import ChannelAggregationBlock
from keras_facealign.layers.common import ConvBatchNorm
from keras_facealign.layers.deformable_conv2d import DeformableConv2D
from keras_facealign.layers.deformable_unit import DeformableConvBatchNorm
from keras_facealign.layers.face_normalization import FaceNormalization
from keras_facealign.layers.factory import BLOCKS, make_block
from keras_facealign.layers.heatmap_decoder import HeatmapDecoder
from keras_facealign.layers.hourglass import Hourglass
from keras_facealign.layers.hpm import HPMBlock
from keras_facealign.layers.inception import InceptionBlock
from keras_facealign.layers.resnet import ResNetBlock
from keras_facealign.layers.scale_aggregation import ScaleAggregation
from keras_facealign.layers.spatial_transformer import RotateImages, estimate_rotation
from keras_facealign.layers.unet import UNet
from keras_facealign.layers.upsampling import DepthwiseUpsampling2D

__all__ = [
    "BLOCKS",
    "ArcFace",
    "BatchNormalization",
    "ChannelAggregationBlock",
    "ConvBatchNorm",
    "CosFace",
    "DeformableConv2D",
    "DeformableConvBatchNorm",
    "DepthwiseUpsampling2D",
    "FaceNormalization",
    "HPMBlock",
    "HeatmapDecoder",
    "Hourglass",
    "InceptionBlock",
    "ResNetBlock",
    "RotateImages",
    "ScaleAggregation",
    "UNet",
    "estimate_rotation",
    "make_block",
]
