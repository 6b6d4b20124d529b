"""Tells from the names and shapes of a checkpoint's arrays which network they belong to.

A few arrays give each property of the architecture; then every array is compared with what that
architecture has, so that a wrong guess cannot pass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_facealign.converters.mxnet.manifest import expected_arrays
from keras_facealign.errors import FaceAlignError
from keras_facealign.networks.architecture import ENCODER_DECODERS, Architecture, stem_widths

__all__ = ["GRID_PREFIXES", "canonical_arrays", "describe", "listed", "recognize", "with_prefix"]

# The aggregation grid's names in the original code: since 2019, before, and in 2018.
GRID_PREFIXES = ("sat", "sta", "dla")
_GRID_NAME = re.compile(rf"^(arg|aux):({'|'.join(GRID_PREFIXES)})(?=\d+_)")
_TITLES = {
    "hourglass": "hourglass",
    "unet": "U-Net",
    "dla": "DLA",
    "sat_i": "SAT(I)",
    "sat_ii": "SAT(II)",
    "sat": "SAT(III)",
}

Shape = tuple[int, ...]


def describe(arch: Architecture) -> str:
    """An architecture in one phrase."""
    parts = [
        f"{arch.stacks} x {_TITLES[arch.topology]}",
        f"depth {arch.depth}",
        f"{arch.block} blocks",
        f"width {arch.width:g}",
        f"{arch.num_landmarks} landmarks",
        f"input {arch.input_size}",
        f"dcn {arch.dcn}",
        f"variant {arch.variant}",
    ]
    parts += ["gate"] * arch.gate + ["spatial transformer"] * arch.spatial_transformer
    return ", ".join(parts)


def listed(names: Sequence[str], limit: int = 5) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(repr(name) for name in names[:limit]) + more


def canonical_arrays(
    path: str | Path, arrays: Mapping[str, Any]
) -> tuple[dict[str, Any], str | None]:
    """Brings all names of the grid to the one that this library's networks use.

    Args:
        path: The file they come from, for messages.
        arrays: By MXNet name.

    Returns:
        The arrays with grids named `sat{i}`, and the prefix that the file has, None without a grid.

    Raises:
        FaceAlignError: If grids of several prefixes occur, which could stand for the same array.
    """
    result: dict[str, Any] = {}
    first: dict[str, str] = {}
    for name, array in arrays.items():
        match = _GRID_NAME.match(name)
        if match:
            first.setdefault(match[2], name)
            name = f"{match[1]}:sat{name[match.end() :]}"
        result[name] = array
    if len(first) > 1:
        raise FaceAlignError(
            f"{path} names its grids in several ways, {listed(list(first.values()))}; one file has "
            f"one of the prefixes {', '.join(GRID_PREFIXES)}."
        )
    return result, next(iter(first), None)


def with_prefix(name: str, prefix: str | None) -> str:
    """The name of an array in a file whose grids have that prefix, from the canonical one."""
    match = _GRID_NAME.match(name) if prefix else None
    return f"{match[1]}:{prefix}{name[match.end() :]}" if match else name


def recognize(
    path: str | Path, shapes: Mapping[str, Shape], prefix: str | None = None
) -> Architecture:
    """Finds the architecture that a checkpoint's arrays belong to.

    Where arrays fit several, it is the simplest: a single stack without what would lie between
    stacks, "dfa" of the variants that do not differ, and no gate, which has no arrays.

    Args:
        path: The file, for messages.
        shapes: Shapes by canonical name, see `canonical_arrays`.
        prefix: What the file calls its grids, for messages.

    Returns:
        The architecture.

    Raises:
        FaceAlignError: If the arrays are not those of one of the original networks.
    """
    arch = _Evidence(path, shapes).architecture()
    _check_arrays(path, shapes, prefix, arch)
    return arch


def _check_arrays(
    path: str | Path, shapes: Mapping[str, Shape], prefix: str | None, arch: Architecture
) -> None:
    """Raises a `FaceAlignError` unless the arrays are exactly those of the architecture."""
    found = f"{path} was recognized as {describe(arch)}"
    missing: list[str] = []
    known = set()
    for name, shape in expected_arrays(arch):
        if name not in shapes:
            missing.append(with_prefix(name, prefix))
            # Names can claim more stacks than there is memory for their lists.
            if len(missing) > len(shapes):
                break
            continue
        known.add(name)
        if shapes[name] != shape:
            raise FaceAlignError(
                f"{found}, where {with_prefix(name, prefix)!r} has shape {shape}, but here it has "
                f"{shapes[name]}."
            )
    if missing:
        raise FaceAlignError(f"{found}, but it lacks {listed(missing)}; give a complete file.")
    unknown = [with_prefix(name, prefix) for name in shapes if name not in known]
    if unknown:
        raise FaceAlignError(f"{found}, but it has {listed(unknown)} besides.")


class _Evidence:
    """Reads one property of the architecture after the other off the arrays."""

    def __init__(self, path: str | Path, shapes: Mapping[str, Shape]) -> None:
        self.path = path
        self.shapes = shapes

    def has(self, name: str) -> bool:
        return f"arg:{name}" in self.shapes

    def shape(self, name: str, rank: int, why: str) -> Shape:
        """Shape of an array that the property `why` is read from."""
        shape = self.shapes.get(f"arg:{name}")
        if shape is None:
            raise self.fail(f"it lacks 'arg:{name}', which gives the {why}")
        if len(shape) != rank:
            raise self.fail(
                f"'arg:{name}', which gives the {why}, has shape {shape} instead of {rank} sides"
            )
        return shape

    def fail(self, reason: str) -> FaceAlignError:
        some = listed(list(self.shapes), 3) or "none"
        return FaceAlignError(
            f"{self.path} is no checkpoint of the original networks: {reason} (its "
            f"{len(self.shapes)} arrays: {some})."
        )

    def numbers(self, pattern: str) -> list[int]:
        """What the group of a pattern matches, as numbers, over all arguments."""
        found = (re.match(f"arg:{pattern}", name) for name in self.shapes)
        return [int(match[1]) for match in found if match]

    def architecture(self) -> Architecture:
        num_landmarks, filters, *_ = self.shape("heatmap_weight", 4, "landmarks and width")
        topology, depth = self.topology()
        stacks = 1 + len(set(self.numbers(r"heatmap(\d{1,9})_weight$")))
        map_size, input_size = self.sizes()
        try:
            return Architecture(
                topology,
                stacks,
                depth,
                self.block(),
                self.width(filters),
                num_landmarks,
                input_size,
                map_size,
                dcn=self.dcn(),
                variant=self.variant(topology, stacks),
                spatial_transformer=self.has("stn_conv0_weight"),
            )
        except FaceAlignError as error:
            raise self.fail(str(error).rstrip(".")) from error

    def topology(self) -> tuple[str, int]:
        """Topology and depth."""
        rows = self.numbers(r"sat0_w\d{1,2}_h(\d{1,2})_")
        if rows:
            depth = max(rows) - 1
            if self.numbers(r"sat0_w\d{1,2}_h(\d{1,2})_z_conv_weight$"):
                # The paper's SAT(II) is SAT(I) at depth 3.
                return ("sat_ii" if depth == 3 else "sat_i"), depth
            # On the edge of the triangle only the dense laterals have a convolution.
            dense = self.has(f"sat0_w{depth}_h{depth}_x_conv_weight")
            return ("dla" if dense else "sat"), depth
        if not any(name.startswith("arg:stack0_hg_") for name in self.shapes):
            raise self.fail(
                "it has neither an hourglass, 'arg:stack0_hg_...', nor an aggregation grid, "
                "'arg:sat0_...', 'arg:sta0_...' or 'arg:dla0_...'"
            )
        # An hourglass inside another is named by the poolings that it has left.
        depth = 1 + max(self.numbers(r"stack0_hg_(\d{1,2})_"), default=0)
        return ("unet" if self.has("stack0_hg_up1_0_conv_weight") else "hourglass"), depth

    def block(self) -> str:
        """Kind of block, from one that keeps its width."""
        name = "stack0_unit0"
        if self.has(f"{name}_block35_conv_conv_weight"):
            return "inception"
        if self.has(f"{name}_w3_h4_1_conv_weight"):
            return "cab"
        side = self.shape(f"{name}_conv1_weight", 4, "kind of block")[2]
        if side not in (1, 3):
            raise self.fail(f"'arg:{name}_conv1_weight' has a kernel of side {side}, not 1 or 3")
        return "hpm" if side == 3 else "resnet"

    def width(self, filters: int) -> float:
        """The multiplier of channels that gives a number of them, all over the network."""
        width = filters / 256
        channels = self.shape("conv0_weight", 4, "stem")[0]
        if channels != stem_widths(width)[0]:
            raise self.fail(
                f"'arg:conv0_weight' has {channels} channels, but 'arg:heatmap_weight' with "
                f"{filters} means width {width:g}, where it has {stem_widths(width)[0]}"
            )
        return width

    def sizes(self) -> tuple[int, int]:
        """Sides of maps and input: 64, unless the spatial transformer's dense layer tells."""
        side = self.shape("conv0_weight", 4, "stem")[2]
        if side not in (3, 7):
            raise self.fail(
                f"'arg:conv0_weight' has a kernel of side {side}; the original's stem has 3, for "
                "an input of twice the maps' size, or 7, for four times (the light stem is this "
                "library's own)"
            )
        ratio = 2 if side == 3 else 4
        if not self.has("loc_net_half_weight"):
            return 64, 64 * ratio
        values = self.shape("loc_net_half_weight", 2, "size of the input")[1]
        channels = self.shape("stn_conv1_weight", 4, "spatial transformer")[0]
        input_size = 4 * round((values / channels) ** 0.5)
        return input_size // ratio, input_size

    def dcn(self) -> int:
        return 2 * self.has("stack0_ll_conv_offset_weight") + self.has("stack0_out3_weight")

    def variant(self, topology: str, stacks: int) -> str:
        if topology in ENCODER_DECODERS:
            depths = self.numbers(r"stack0_hg_upsampling_(\d{1,2})_weight$")
        else:
            depths = self.numbers(r"sat0_upsampling_w1_h(\d{1,2})_weight$")
        if depths:
            return "insightface_2018"
        # Only "dfa" has these maps in the last stack of an hourglass; grids do not differ.
        between = self.has("stack0_out3_weight") and topology in ENCODER_DECODERS
        lacks_last = between and not self.has(f"stack{stacks - 1}_out3_weight")
        return "insightface" if lacks_last else "dfa"
