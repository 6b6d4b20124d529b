"""Lists names, shapes and order of the arrays that the original code stores for an architecture.

Arguments are in MXNet's order: depth first from the outputs of the training graph, with the inputs
of each node from left to right. The running statistics of the batch norms follow in the same order.

No memory is allocated for weights, so that a file can be checked before a network is built.
"""

from __future__ import annotations

from collections.abc import Iterator

from keras_facealign.networks.architecture import ENCODER_DECODERS, Architecture, stem_widths

Shape = tuple[int, ...]
Arrays = Iterator[tuple[str, Shape]]

_CAB_COLUMNS = 4
_OFFSETS = 2 * 3 * 3


def expected_arrays(arch: Architecture) -> Arrays:
    """Lists the arrays of an architecture.

    Args:
        arch: An architecture with the original stem; `stem` is ignored.

    Yields:
        Name and shape in MXNet's layout. Grids have the prefix `sat{i}`.

    Example:
        >>> from keras_facealign.networks import Architecture
        >>> next(expected_arrays(Architecture()))
        ('arg:conv0_weight', (64, 3, 3, 3))
    """
    norms = []
    for name, shape in _arguments(arch):
        yield f"arg:{name}", shape
        if name.endswith("_gamma"):
            norms.append((name.removesuffix("_gamma"), shape))
    for name, shape in norms:
        yield f"aux:{name}_moving_mean", shape
        yield f"aux:{name}_moving_var", shape


def _arguments(arch: Architecture) -> Arrays:
    if arch.spatial_transformer:
        yield from _spatial_transformer(arch)
    yield from _stem(arch)
    for i in range(arch.stacks):
        if arch.topology in ENCODER_DECODERS:
            yield from _hourglass(arch, f"stack{i}_hg", arch.depth)
        else:
            yield from _grid(arch, f"sat{i}")
        yield from _block(arch.block, f"stack{i}_unit0", arch.filters, arch.filters)
        yield from _head(arch, i)


def _spatial_transformer(arch: Architecture) -> Arrays:
    narrow, middle = stem_widths(arch.width)
    hidden = int(arch.filters * 0.5)
    yield from _conv("stn_conv0", narrow, 3, 7)
    yield from _norm("stn_bn0", narrow)
    yield from _conv("stn_conv1", middle, narrow, 3)
    yield from _norm("stn_bn1", middle)
    yield from _dense("loc_net_half", hidden, middle * (arch.input_size // 4) ** 2)
    yield from _dense("loc_theta", 1, hidden)


def _stem(arch: Architecture) -> Arrays:
    narrow, middle = stem_widths(arch.width)
    yield from _conv("conv0", narrow, 3, 7 if arch.input_size == 4 * arch.map_size else 3)
    yield from _norm("bn0", narrow)
    yield from _block(arch.block, "res0", middle, narrow)
    yield from _block(arch.block, "res1", middle, middle)
    yield from _block(arch.block, "res2", arch.filters, middle)


def _head(arch: Architecture, i: int) -> Arrays:
    last = i == arch.stacks - 1
    width, points, deformable = arch.filters, arch.num_landmarks, arch.deformable_heads
    conv = _deformable if deformable else _conv
    side = 3 if deformable else 1
    # These networks have the connection to the next stack in the last stack too, and train the
    # maps at its end, so these are part of the graph.
    onward = arch.heads_between_stacks

    norm_first = deformable and arch.variant == "insightface_2018"
    if norm_first:
        yield from _norm(f"stack{i}_ll_bn", width)
    yield from conv(f"stack{i}_ll_conv", width, width, side, bias=deformable)
    if not norm_first:
        yield from _norm(f"stack{i}_ll_bn", width)

    heatmap = list(conv("heatmap" if last else f"heatmap{i}", points, width, side, bias=True))
    if not last:
        yield from heatmap
    if not last or onward:
        yield from _conv(f"stack{i}_ll2", width, width, 1, bias=True)
    if last:
        yield from heatmap
    if not last or onward:
        yield from _conv(f"stack{i}_out2", width, points, 1, bias=True)
        if arch.deformable_between:
            yield from _deformable(f"stack{i}_out3", points if onward else width, width)
        if onward and not last:
            yield from _conv(f"stack{i}_body", width, points, 1, bias=True)


def _hourglass(arch: Architecture, name: str, depth: int) -> Arrays:
    width = arch.filters
    if arch.topology == "unet":
        yield from _conv_norm(f"{name}_up1_0", width, width, 1)
    else:
        yield from _block(arch.block, f"{name}_up1_0", width, width)
    yield from _block(arch.block, f"{name}_low1_0", width, width)
    if depth > 1:
        yield from _hourglass(arch, f"{name}_{depth - 1}", depth - 1)
    else:
        yield from _block(arch.block, f"{name}_low2_0", width, width)
    yield from _block(arch.block, f"{name}_low3_0", width, width)
    if arch.variant == "insightface_2018":
        yield f"{name}_upsampling_{depth}_weight", (width, 1, 2, 2)


def _grid(arch: Architecture, name: str) -> Arrays:
    """Columns one by one, each from its highest resolution down the laterals and back up."""
    width, n = arch.filters, arch.depth + 1
    for w in range(arch.depth, 0, -1):
        for h in range(w, n):
            node = f"{name}_w{w}_h{h}_x"
            if arch.topology != "sat":
                yield from _conv_norm(node, width, width, 3)
            elif h % 2 and h != w:
                yield from _conv_norm(node, width, 1, 3)
        yield from _cab(f"{name}_w{w}_h{n}_1", width)
        yield from _cab(f"{name}_w{w}_h{n}_2", width)
        for h in range(arch.depth, w - 1, -1):
            if w > 1:
                yield f"{name}_upsampling_w{w}_h{h}_weight", (width, width, 2, 2)
                yield from _norm(f"{name}_w{w}_h{h}_y_bn", width)
            else:
                if arch.variant == "insightface_2018":
                    yield f"{name}_upsampling_w{w}_h{h}_weight", (width, 1, 2, 2)
                yield from _cab(f"{name}_w{w}_h{h}_4", width)
            if arch.topology in ("sat_i", "sat_ii") and h != w:
                yield from _conv_norm(f"{name}_w{w}_h{h}_z", width, width, 3)


def _block(kind: str, name: str, width: int, into: int) -> Arrays:
    keeps_width = width == into
    if kind == "cab" and keeps_width:
        yield from _cab(name, width)
    elif kind == "inception" and keeps_width:
        yield from _inception(f"{name}_block35", width)
    else:
        wide = kind in ("hpm", "cab")
        side, half = (3 if wide else 1), width // 2
        quarter = width // 4 if wide else half
        yield from _norm(f"{name}_bn1", into)
        yield from _conv(f"{name}_conv1", half, into, side)
        yield from _norm(f"{name}_bn2", half)
        yield from _conv(f"{name}_conv2", quarter, half, 3)
        yield from _norm(f"{name}_bn3", quarter)
        yield from _conv(f"{name}_conv3", quarter if wide else width, quarter, side)
        if not keeps_width:
            yield from _conv(f"{name}_sc", width, into, 1)


def _cab(name: str, width: int) -> Arrays:
    for w in range(_CAB_COLUMNS - 1, 0, -1):
        right = width // 2 ** (_CAB_COLUMNS - 1 - w)
        if w < _CAB_COLUMNS - 1:
            yield from _conv_norm(f"{name}_w{w}_h3_2", right, 1, 3)
        yield from _conv_norm(f"{name}_w{w}_h4_1", right // 2, right, 3)


def _inception(name: str, width: int) -> Arrays:
    quarter, middle = width // 4, int(width * 0.375)
    yield from _conv_norm(f"{name}_conv", quarter, width, 1)
    yield from _conv_norm(f"{name}_conv1_0", quarter, width, 1)
    yield from _conv_norm(f"{name}_conv1_1", quarter, quarter, 3)
    yield from _conv_norm(f"{name}_conv2_0", quarter, width, 1)
    yield from _conv_norm(f"{name}_conv2_1", middle, quarter, 3)
    yield from _conv_norm(f"{name}_conv2_2", width // 2, middle, 3)
    yield from _conv_norm(f"{name}_conv_out", width, 2 * quarter + width // 2, 1)


def _conv_norm(name: str, width: int, into: int, side: int) -> Arrays:
    yield from _conv(f"{name}_conv", width, into, side)
    yield from _norm(f"{name}_bn", width)


def _conv(name: str, width: int, into: int, side: int, bias: bool = False) -> Arrays:
    yield f"{name}_weight", (width, into, side, side)
    if bias:
        yield f"{name}_bias", (width,)


def _deformable(name: str, width: int, into: int, side: int = 3, bias: bool = True) -> Arrays:
    yield from _conv(f"{name}_offset", _OFFSETS, into, side, bias=True)
    yield from _conv(name, width, into, side, bias)


def _dense(name: str, width: int, into: int) -> Arrays:
    yield f"{name}_weight", (width, into)
    yield f"{name}_bias", (width,)


def _norm(name: str, width: int) -> Arrays:
    yield f"{name}_gamma", (width,)
    yield f"{name}_beta", (width,)
