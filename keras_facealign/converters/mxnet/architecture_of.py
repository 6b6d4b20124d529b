"""Recognizes an architecture from the names and shapes of a checkpoint's arrays.

A few arrays determine each property of the architecture. Then all arrays are compared with those of
the recognized architecture, so that a wrong guess is detected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_facealign.converters.mxnet.manifest import expected_arrays
from keras_facealign.errors import FaceAlignError
from keras_facealign.networks.architecture import (
    DEFORMABLE,
    ENCODER_DECODERS,
    Architecture,
    stem_widths,
)

# The aggregation grid's names in the original code: since 2019, before 2019, and in 2018.
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
    """Returns a description of an architecture in one phrase."""
    parts = [
        f"{arch.stacks} x {_TITLES[arch.topology]}",
        f"depth {arch.depth}",
        f"{arch.block} blocks",
        f"width {arch.width:g}",
        f"{arch.num_landmarks} landmarks",
        f"input {arch.input_size}",
        f"deformable {arch.deformable}",
        f"variant {arch.variant}",
    ]
    parts += ["gate"] * arch.gate + ["spatial transformer"] * arch.spatial_transformer
    return ", ".join(parts)


def listed(names: Sequence[str], limit: int = 5) -> str:
    """Returns the first names and the number of the others."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(repr(name) for name in names[:limit]) + more


def canonical_arrays(
    path: str | Path, arrays: Mapping[str, Any]
) -> tuple[dict[str, Any], str | None]:
    """Renames the arrays of grids to the names in this library's networks.

    Args:
        path: The file, for error messages.
        arrays: Arrays, or anything else, by MXNet name.

    Returns:
        The arrays with grids named `sat{i}`, and the prefix in the file, None without a grid.

    Raises:
        FaceAlignError: If grids have several prefixes, so that two names could mean the same array.
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
            f"{path} has grids of several prefixes, {listed(list(first.values()))}; a valid file "
            f"has one of {', '.join(GRID_PREFIXES)}."
        )
    return result, next(iter(first), None)


def with_prefix(name: str, prefix: str | None) -> str:
    """Converts a canonical name to that in a file whose grids have the prefix."""
    match = _GRID_NAME.match(name) if prefix else None
    return f"{match[1]}:{prefix}{name[match.end() :]}" if match else name


def recognize(
    path: str | Path, shapes: Mapping[str, Shape], prefix: str | None = None
) -> Architecture:
    """Recognizes the architecture of a checkpoint.

    Where the arrays fit several architectures, the simplest is taken: nothing between stacks if
    there is one stack, the variant "dfa" if variants do not differ, and no gate, since gates have
    no arrays.

    Args:
        path: The file, for error messages.
        shapes: Shapes by canonical name, see `canonical_arrays`.
        prefix: Prefix of the grids in the file, for error messages.

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
            # A damaged name can claim more stacks than fit into memory.
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
        raise FaceAlignError(f"{found}, but has unknown arrays, {listed(unknown)}.")


class _Evidence:
    """Determines the properties of the architecture from the arrays."""

    def __init__(self, path: str | Path, shapes: Mapping[str, Shape]) -> None:
        self.path = path
        self.shapes = shapes

    def has(self, name: str) -> bool:
        return f"arg:{name}" in self.shapes

    def shape(self, name: str, rank: int, why: str) -> Shape:
        """The shape of an array that determines the property `why`."""
        shape = self.shapes.get(f"arg:{name}")
        if shape is None:
            raise self.fail(f"it lacks 'arg:{name}', which gives the {why}")
        if len(shape) != rank:
            raise self.fail(
                f"'arg:{name}', which gives the {why}, has shape {shape} instead of {rank} axes"
            )
        return shape

    def fail(self, reason: str) -> FaceAlignError:
        some = listed(list(self.shapes), 3) or "none"
        return FaceAlignError(
            f"{self.path} is not a checkpoint of the original networks: {reason} (its "
            f"{len(self.shapes)} arrays: {some})."
        )

    def numbers(self, pattern: str) -> list[int]:
        """The numbers that the group of a pattern matches in the names of all arguments."""
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
                deformable=self.deformable(),
                variant=self.variant(topology, stacks),
                spatial_transformer=self.has("stn_conv0_weight"),
            )
        except FaceAlignError as error:
            raise self.fail(str(error).rstrip(".")) from error

    def topology(self) -> tuple[str, int]:
        """The topology and its depth."""
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
        # The name of a nested hourglass has the number of its remaining poolings.
        depth = 1 + max(self.numbers(r"stack0_hg_(\d{1,2})_"), default=0)
        return ("unet" if self.has("stack0_hg_up1_0_conv_weight") else "hourglass"), depth

    def block(self) -> str:
        """The kind of block, from a block that keeps its width."""
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
        """The channel multiplier, which must fit the whole network."""
        width = filters / 256
        channels = self.shape("conv0_weight", 4, "stem")[0]
        if channels != stem_widths(width)[0]:
            raise self.fail(
                f"'arg:conv0_weight' has {channels} channels, but 'arg:heatmap_weight' with "
                f"{filters} means width {width:g} and {stem_widths(width)[0]} channels"
            )
        return width

    def sizes(self) -> tuple[int, int]:
        """Sides of heatmaps (64 unless a spatial transformer shows another size) and input."""
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

    def deformable(self) -> str:
        heads, between = (self.has(f"stack0_{name}_weight") for name in ("ll_conv_offset", "out3"))
        return DEFORMABLE[2 * heads + between]

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
