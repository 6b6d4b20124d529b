"""Stacked heatmap networks: a stem, then stacks of one topology, each with a heatmap head.

One builder serves every topology and block. Layer names, with the slashes of a weight's path read
as underscores, are the parameter names of the original MXNet code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import keras

from keras_facealign.layers import ConvBatchNorm, Hourglass, ScaleAggregation, make_block
from keras_facealign.layers.common import batch_norm, conv, deformable_conv
from keras_facealign.layers.deformable_unit import DeformableConvBatchNorm
from keras_facealign.layers.factory import max_pool
from keras_facealign.layers.spatial_transformer import RotateImages, estimate_rotation
from keras_facealign.layers.unet import UNet
from keras_facealign.networks.architecture import Architecture, stem_widths

_Maker = Callable[[Architecture, int], keras.layers.Layer]


def _encoder_decoder(cls: type[Hourglass]) -> _Maker:
    return lambda a, i: cls(
        a.filters,
        a.depth,
        a.block,
        learned_upsampling=a.variant == "insightface_2018",
        name=f"stack{i}_hg",
    )


def _aggregation(laterals: str = "depthwise", downward: bool = False) -> _Maker:
    return lambda a, i: ScaleAggregation(
        a.filters,
        a.depth,
        laterals,
        downward,
        a.gate,
        learned_upsampling=a.variant == "insightface_2018",
        name=f"sat{i}",
    )


_MAKERS: dict[str, _Maker] = {
    "hourglass": _encoder_decoder(Hourglass),
    "unet": _encoder_decoder(UNet),
    "dla": _aggregation("dense"),
    "sat_i": _aggregation("dense", downward=True),
    "sat_ii": _aggregation("dense", downward=True),
    "sat": _aggregation(),
}


@dataclass(frozen=True)
class Network:
    """A functional Keras graph and the meaning of its outputs.

    Attributes:
        images: The input, (B, input_size, input_size, 3) RGB 0 to 255.
        heatmaps: Raw logits of every stack in order, float32 (B, map_size, map_size, K).
        trained: The same list, except that its last entry is the map that the last stack trains,
            which differs where `Architecture.heads_between_stacks`.
        frame: With a spatial transformer, float32 (B, 2, 3), matrices that move points of the input
            to the frame that the heatmaps refer to, in input pixels; else None.
    """

    images: keras.KerasTensor
    heatmaps: list[keras.KerasTensor]
    trained: list[keras.KerasTensor]
    frame: keras.KerasTensor | None = None

    @property
    def outputs(self) -> list[keras.KerasTensor]:
        """All outputs: heatmaps, the last trained ones where they differ, and the frame if any."""
        extra = [] if self.trained[-1] is self.heatmaps[-1] else [self.trained[-1]]
        return [*self.heatmaps, *extra, *([] if self.frame is None else [self.frame])]


def prior_logit(probability: float) -> float:
    """Returns the logit whose sigmoid is `probability`."""
    return math.log(probability / (1.0 - probability))


def _block(arch: Architecture, x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    return make_block(arch.block, x.shape[-1], filters, name)(x)


def _stem(arch: Architecture, x: keras.KerasTensor) -> keras.KerasTensor:
    """Maps the normalized image to `filters` channels at the maps' resolution."""
    narrow, middle = stem_widths(arch.width)
    if arch.stem == "light":
        # Stride 2 with "same" padding is asymmetric for odd kernels; with a 4x4 kernel and a
        # padding of one pixel, output i covers inputs 2i - 1 to 2i + 2.
        halvings = (arch.input_size // arch.map_size).bit_length() - 1
        for i in range(halvings):
            x = keras.layers.ZeroPadding2D(1, name=f"pad{i}")(x)
            x = conv(arch.filters >> (halvings - 1 - i), 4, f"conv{i}", strides=2, padding="valid")(
                x
            )
            x = keras.layers.ReLU(name=f"relu{i}")(batch_norm(f"bn{i}")(x))
        return x
    if arch.input_size == 4 * arch.map_size:
        x = keras.layers.ZeroPadding2D(3, name="pad0")(x)
        x = conv(narrow, 7, "conv0", strides=2, padding="valid")(x)
    else:
        x = conv(narrow, 3, "conv0")(x)
    x = keras.layers.ReLU(name="relu0")(batch_norm("bn0")(x))
    x = max_pool(_block(arch, x, middle, "res0"))
    x = _block(arch, x, middle, "res1")
    return _block(arch, x, arch.filters, "res2")


def _head(arch: Architecture, y: keras.KerasTensor, i: int) -> tuple[keras.KerasTensor, ...]:
    """Returns a stack's last features and its heatmaps."""
    name = "heatmap" if i == arch.stacks - 1 else f"heatmap{i}"
    bias = _head_bias(arch)
    if arch.deformable_heads:
        unit = DeformableConvBatchNorm(
            arch.filters, arch.variant == "insightface_2018", name=f"stack{i}_ll"
        )
        y = unit(y)
        return y, deformable_conv(arch.num_landmarks, name, bias_initializer=bias)(y)
    y = ConvBatchNorm(arch.filters, 1, name=f"stack{i}_ll")(y)
    return y, conv(arch.num_landmarks, 1, name, use_bias=True, bias_initializer=bias)(y)


def _head_bias(arch: Architecture) -> keras.initializers.Initializer:
    return keras.initializers.Constant(
        0.0 if arch.head_prior is None else prior_logit(arch.head_prior)
    )


def _logits(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Casts to float32, which losses and decoding need whatever the layers compute in."""
    return keras.layers.Activation("linear", dtype="float32", name=name)(x)


def build_network(arch: Architecture) -> Network:
    """Builds the functional graph of an architecture.

    Args:
        arch: The architecture.

    Returns:
        The graph's input and outputs.

    Raises:
        FaceAlignError: If the width does not divide into the blocks' channel groups.
    """
    images = keras.Input((arch.input_size, arch.input_size, 3), name="images")
    filters, frame = arch.filters, None
    x = keras.layers.Rescaling(1 / 128, offset=-127.5 / 128, name="rescale")(images)
    if arch.spatial_transformer:
        angle = estimate_rotation(x, stem_widths(arch.width), filters // 2)
        x, frame = RotateImages(name="stn_rotate")([x, angle])
    x = _stem(arch, x)
    heatmaps, trained = [], []
    for i in range(arch.stacks):
        last = i == arch.stacks - 1
        y = _MAKERS[arch.topology](arch, i)(x)
        y = _block(arch, y, filters, f"stack{i}_unit0")
        y, maps = _head(arch, y, i)
        heatmaps.append(_logits(maps, f"stack{i}_logits"))
        trained.append(heatmaps[-1])
        if last and not arch.heads_between_stacks:
            break
        back = conv(filters, 1, f"stack{i}_ll2", use_bias=True)(y)
        x = x + back + conv(filters, 1, f"stack{i}_out2", use_bias=True)(maps)
        if arch.heads_between_stacks:
            between = deformable_conv(
                arch.num_landmarks, f"stack{i}_out3", bias_initializer=_head_bias(arch)
            )
            x = between(x)
            if last:
                trained[-1] = _logits(x, f"stack{i}_out3_logits")
            else:
                x = conv(filters, 1, f"stack{i}_body", use_bias=True)(x)
        elif arch.deformable_between:
            x = deformable_conv(filters, f"stack{i}_out3")(x)
    return Network(images, heatmaps, trained, frame)
