"""The networks: a stem, then stacks of one topology, each with a heatmap head.

One builder serves every topology and block. Layer names, with the slashes of a weight's path read
as underscores, are the parameter names of the original MXNet code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import keras

from keras_facealign.errors import FaceAlignError
from keras_facealign.layers import BLOCKS, ConvBatchNorm, Hourglass, ScaleAggregation, make_block
from keras_facealign.layers.common import batch_norm, conv
from keras_facealign.layers.factory import max_pool

__all__ = ["STEMS", "TOPOLOGIES", "Architecture", "build_network", "prior_logit"]

STEMS = ("full", "light")


@dataclass(frozen=True)
class Architecture:
    """Everything that decides a network's graph.

    Args:
        topology: "hourglass" or "sat".
        stacks: How many times the topology is repeated, each with heatmaps of its own.
        depth: Number of 2x poolings inside the topology.
        block: Kind of convolution block: "resnet", "hpm" or "cab". The scale aggregation topology
            itself always uses "cab"; the kind then sets the stem and the block before each head.
        width: Multiplier of all channel counts; 1.0 is the paper's.
        num_landmarks: Heatmaps of each stack (K).
        input_size: Side of the square input in pixels, 2 or 4 times the 64 of the maps.
        map_size: Side of the heatmaps in pixels.
        stem: "full" is the original. "light" is one strided 4x4 convolution: all blocks then run
            inside the stacks, which saves narrow networks a third of their operations.
        head_prior: Probability that the heads give every pixel before training. The original's
            heads start at 0.5, which costs the cross-entropy many steps to unlearn; None keeps it.
    """

    topology: str = "sat"
    stacks: int = 2
    depth: int = 3
    block: str = "cab"
    width: float = 1.0
    num_landmarks: int = 68
    input_size: int = 128
    map_size: int = 64
    stem: str = "full"
    head_prior: float | None = None

    def __post_init__(self) -> None:
        self._check("topology", self.topology, TOPOLOGIES)
        self._check("block", self.block, BLOCKS)
        self._check("stem", self.stem, STEMS)
        if self.stacks < 1 or self.depth < 1 or self.num_landmarks < 1:
            raise FaceAlignError(
                f"stacks={self.stacks}, depth={self.depth} and num_landmarks="
                f"{self.num_landmarks} must be at least 1."
            )
        if not self.width > 0:
            raise FaceAlignError(f"width is {self.width}; it must be positive, 1.0 is the paper's.")
        if self.map_size % 2**self.depth:
            raise FaceAlignError(
                f"map_size={self.map_size} cannot be halved depth={self.depth} times."
            )
        ratio = self.input_size / self.map_size
        if ratio not in (2, 4) or (ratio == 4 and self.stem == "light"):
            raise FaceAlignError(
                f"input_size={self.input_size} must be 2 or 4 times map_size={self.map_size} "
                "(only 2 times with the light stem)."
            )
        if self.head_prior is not None and not 0 < self.head_prior < 1:
            raise FaceAlignError(f"head_prior is {self.head_prior}; it must be between 0 and 1.")

    @staticmethod
    def _check(name: str, value: str, choices: Any) -> None:
        if value not in choices:
            raise FaceAlignError(f"Unknown {name} {value!r}; choose one of: {', '.join(choices)}.")

    @property
    def filters(self) -> int:
        """Channels inside the stacks."""
        return int(256 * self.width)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain Python values, for a configuration file."""
        return asdict(self)


TOPOLOGIES: dict[str, Callable[[Architecture, int], keras.layers.Layer]] = {
    "hourglass": lambda a, i: Hourglass(a.filters, a.depth, a.block, name=f"stack{i}_hg"),
    "sat": lambda a, i: ScaleAggregation(a.filters, a.depth, name=f"sat{i}"),
}


def prior_logit(probability: float) -> float:
    """The logit whose sigmoid is `probability`."""
    return math.log(probability / (1.0 - probability))


def _block(arch: Architecture, x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    return make_block(arch.block, x.shape[-1], filters, name)(x)


def _stem(arch: Architecture, images: keras.KerasTensor) -> keras.KerasTensor:
    """From the image to `filters` channels at the maps' resolution."""
    narrow, middle = max(int(64 * arch.width), 32), max(int(128 * arch.width), 32)
    x = keras.layers.Rescaling(1 / 128, offset=-127.5 / 128, name="rescale")(images)
    if arch.stem == "light":
        # Stride 2 with "same" padding is lopsided for odd kernels; a 4x4 kernel padded by one pixel
        # keeps the grid of half-pixel centres symmetric: output i covers inputs 2i - 1 to 2i + 2.
        x = keras.layers.ZeroPadding2D(1, name="pad0")(x)
        x = conv(arch.filters, 4, "conv0", strides=2, padding="valid")(x)
        return keras.layers.ReLU(name="relu0")(batch_norm("bn0")(x))
    if arch.input_size == 4 * arch.map_size:
        x = keras.layers.ZeroPadding2D(3, name="pad0")(x)
        x = conv(narrow, 7, "conv0", strides=2, padding="valid")(x)
    else:
        x = conv(narrow, 3, "conv0")(x)
    x = keras.layers.ReLU(name="relu0")(batch_norm("bn0")(x))
    x = max_pool(_block(arch, x, middle, "res0"))
    x = _block(arch, x, middle, "res1")
    return _block(arch, x, arch.filters, "res2")


def build_network(arch: Architecture) -> tuple[keras.KerasTensor, list[keras.KerasTensor]]:
    """Builds the functional graph of an architecture.

    Args:
        arch: What to build.

    Returns:
        The input, (B, input_size, input_size, 3) RGB 0 to 255, and the heatmaps of every stack in
        order, float32 (B, map_size, map_size, K), raw logits.

    Raises:
        FaceAlignError: If the width does not divide into the blocks' channel groups.
    """
    images = keras.Input((arch.input_size, arch.input_size, 3), name="images")
    filters = arch.filters
    bias = keras.initializers.Constant(
        0.0 if arch.head_prior is None else prior_logit(arch.head_prior)
    )
    x = _stem(arch, images)
    heatmaps = []
    for i in range(arch.stacks):
        last = i == arch.stacks - 1
        y = TOPOLOGIES[arch.topology](arch, i)(x)
        y = _block(arch, y, filters, f"stack{i}_unit0")
        y = ConvBatchNorm(filters, 1, name=f"stack{i}_ll")(y)
        head = conv(
            arch.num_landmarks,
            1,
            "heatmap" if last else f"heatmap{i}",
            use_bias=True,
            bias_initializer=bias,
        )
        maps = head(y)
        if not last:
            back = conv(filters, 1, f"stack{i}_ll2", use_bias=True)(y)
            x = x + back + conv(filters, 1, f"stack{i}_out2", use_bias=True)(maps)
        # The losses and the decoding need full precision whatever the layers compute in.
        cast = keras.layers.Activation("linear", dtype="float32", name=f"stack{i}_logits")
        heatmaps.append(cast(maps))
    return images, heatmaps
