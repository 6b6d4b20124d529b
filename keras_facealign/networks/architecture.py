"""Architectures: all settings that decide a network's graph."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, fields
from numbers import Real
from typing import Any

from keras_facealign._deprecated import renamed_arguments
from keras_facealign.errors import FaceAlignError, check_integer
from keras_facealign.layers import BLOCKS

ENCODER_DECODERS = ("hourglass", "unet")
TOPOLOGIES = (*ENCODER_DECODERS, "dla", "sat_i", "sat_ii", "sat")
STEMS = ("full", "light")
VARIANTS = ("dfa", "insightface", "insightface_2018")
DEFORMABLE = ("none", "between", "heads", "both")
"""Values of `Architecture.deformable`, in the order of version 0.1 and MXNet's `dcn`, 0 to 3."""
# Far beyond published networks, and small enough that no configuration file stalls the program.
_LARGEST = {
    "stacks": 16,
    "depth": 8,
    "num_landmarks": 2000,
    "input_size": 2048,
    "map_size": 512,
}
# Below it, the narrowest part of a block has no channel.
_WIDTHS = (1 / 32, 8.0)
# Weights grow with stacks * width ** 2, which is 8 for the paper's largest network.
_LARGEST_NETWORK = 64
# Names in configurations of version 0.1.
_OLD_VARIANTS = {"if": "insightface", "old": "insightface_2018"}


def _deformable_of(dcn: int) -> str:
    """Returns the value of `deformable` for a number of version 0.1."""
    if isinstance(dcn, bool) or dcn not in range(len(DEFORMABLE)):
        raise FaceAlignError(f"dcn is {dcn}; choose 0, 1, 2 or 3.")
    return DEFORMABLE[dcn]


@renamed_arguments({"dcn": _deformable_of}, dcn="deformable")
@dataclass(frozen=True)
class Architecture:
    """Settings that decide a network's graph.

    Args:
        topology: "hourglass", "unet", "dla", "sat_i", "sat_ii" or "sat", which is SAT (III).
            "sat_i" and "sat_ii" are one construction, in the paper at depth 4 and 3.
        stacks: How many times the topology is repeated, each with heatmaps of its own; at most 16.
        depth: Number of 2x poolings inside the topology; at most 8.
        block: Kind of convolution block: "resnet", "inception", "hpm" or "cab". The aggregation
            topologies (SAT, DLA) always use "cab"; the kind then sets the stem and the block before
            each head.
        width: Multiplier of all channel counts; 1.0 is the paper's. From 1/32 to 8, and
            stacks * width ** 2 is at most 64.
        num_landmarks: Heatmaps of each stack (K); at most 2000.
        input_size: Side of the square input in pixels, 2 or 4 times the 64 of the maps.
        map_size: Side of the heatmaps in pixels.
        stem: "full" is the original. "light" is one strided 4x4 convolution for every halving of
            the input: all blocks then run inside the stacks, which saves narrow networks a third
            of their operations.
        head_prior: Probability that the heads give every pixel before training. The original's
            heads start at 0.5, which costs the cross-entropy many steps to unlearn; None keeps it.
        gate: SAT and DLA only: whether a node is multiplied by the mean of its neighbor
            (`net_sat` 2 of the original code).
        deformable: Where convolutions are deformable (the paper's inside transformer): "none",
            "between" stacks, in front of and inside the "heads", or "both".
        variant: Which of the released codes decides details. "insightface_2018" (InsightFace's
            `alignment/hg2.py` of May 2018, the code of the paper's time) learns the up-sampling and
            normalizes before the deformable convolution; "insightface" (its later
            `alignment/heatmap`) and "dfa" (deep-face-alignment) repeat pixels and normalize after
            it. Between stacks, hourglasses and U-Nets of "dfa" pass their features through K
            channels, which are the heatmaps that the last stack trains. Default:
            "insightface_2018" for "dla", "sat_i" and "sat_ii", which no later code has, else "dfa".
            The names of version 0.1, "old" and "if", are accepted.
        spatial_transformer: Whether a small network in front turns the image upright (STN).

    Raises:
        FaceAlignError: If a value has the wrong type, is out of range, or does not fit the others.
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
    gate: bool = False
    deformable: str = "none"
    variant: str | None = None
    spatial_transformer: bool = False

    def __post_init__(self) -> None:
        self._check("topology", self.topology, TOPOLOGIES)
        if self.variant is None:
            old = self.topology in ("dla", "sat_i", "sat_ii")
            object.__setattr__(self, "variant", "insightface_2018" if old else "dfa")
        elif isinstance(self.variant, str) and self.variant in _OLD_VARIANTS:
            object.__setattr__(self, "variant", _OLD_VARIANTS[self.variant])
        self._check("variant", self.variant, VARIANTS)
        self._check("block", self.block, BLOCKS)
        self._check("stem", self.stem, STEMS)
        self._check("deformable", self.deformable, DEFORMABLE)
        self._check_numbers()
        if self.map_size % 2**self.depth:
            raise FaceAlignError(
                f"map_size={self.map_size} cannot be halved depth={self.depth} times."
            )
        ratio = self.input_size / self.map_size
        if ratio not in (2, 4):
            raise FaceAlignError(
                f"input_size={self.input_size} must be 2 or 4 times map_size={self.map_size}."
            )
        if self.gate and (self.topology in ENCODER_DECODERS or self.depth < 3):
            raise FaceAlignError(
                f"gate=True needs an aggregation topology of depth 3 or more, not "
                f"{self.topology!r} of depth {self.depth}."
            )

    def _check_numbers(self) -> None:
        for name, largest in _LARGEST.items():
            check_integer(name, getattr(self, name), 1, largest)
            object.__setattr__(self, name, int(getattr(self, name)))
        for name in ("gate", "spatial_transformer"):
            if not isinstance(getattr(self, name), bool):
                raise FaceAlignError(f"{name} is {getattr(self, name)!r}; give True or False.")
        width, prior = self.width, self.head_prior
        if not _is_number(width) or not _WIDTHS[0] <= width <= _WIDTHS[1]:
            raise FaceAlignError(
                f"width is {width!r}; it must be a number from {_WIDTHS[0]} to {_WIDTHS[1]}, 1.0 "
                "is the paper's."
            )
        if self.stacks * width**2 > _LARGEST_NETWORK:
            raise FaceAlignError(
                f"stacks={self.stacks} and width={width} make stacks * width ** 2 "
                f"{self.stacks * width**2:g}; it must be at most {_LARGEST_NETWORK}."
            )
        if prior is not None and not (_is_number(prior) and 0 < prior < 1):
            raise FaceAlignError(f"head_prior is {prior!r}; it must be between 0 and 1, or None.")

    @staticmethod
    def _check(name: str, value: Any, choices: Any) -> None:
        if not isinstance(value, str) or value not in choices:
            raise FaceAlignError(f"Unknown {name} {value!r}; choose one of: {', '.join(choices)}.")

    @property
    def filters(self) -> int:
        """Channels inside the stacks."""
        return int(256 * self.width)

    @property
    def deformable_heads(self) -> bool:
        """Whether the convolutions in front of and inside the heads are deformable."""
        return self.deformable in ("heads", "both")

    @property
    def deformable_between(self) -> bool:
        """Whether there are deformable convolutions between stacks."""
        return self.deformable in ("between", "both")

    @property
    def heads_between_stacks(self) -> bool:
        """Whether features between stacks have K channels, which the last stack trains as maps."""
        encoder_decoder = self.variant == "dfa" and self.topology in ENCODER_DECODERS
        return self.deformable_between and encoder_decoder

    @property
    def dcn(self) -> int:
        """The number of version 0.1 for `deformable`; deprecated."""
        warnings.warn(
            "Architecture.dcn is now Architecture.deformable; the old name goes in version 0.3.",
            DeprecationWarning,
            stacklevel=2,
        )
        return DEFORMABLE.index(self.deformable)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain Python values, for a configuration file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Architecture:
        """Makes an architecture from a configuration file's fields, also those of version 0.1.

        Args:
            values: What `to_dict` returned.

        Raises:
            FaceAlignError: If a field is unknown or a value is not possible.
        """
        values = dict(values)
        if "dcn" in values:
            values["deformable"] = _deformable_of(values.pop("dcn"))
        known = [field.name for field in fields(cls)]
        if unknown := [name for name in values if name not in known]:
            raise FaceAlignError(
                f"An architecture has no field {unknown[0]!r}; its fields are: {', '.join(known)}."
            )
        return cls(**values)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def stem_widths(width: float) -> tuple[int, int]:
    """Channels of the stem's first convolution, and of its blocks."""
    return max(int(64 * width), 32), max(int(128 * width), 32)
