"""Larger networks that compute what a trained smaller one does, to train on from there.

A widened network has every channel several times, next to its original, and every convolution
spreads its kernel over the copies of its input. Copies that lie side by side stay so in whatever
blocks concatenate, so each layer can be widened by itself. A deepened network has more stacks,
which start as copies of the last one. After Chen, Goodfellow and Shlens, Net2Net: Accelerating
Learning via Knowledge Transfer (ICLR 2016).
"""

from __future__ import annotations

import math
from typing import TypeVar

import keras
import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.layers import DeformableConv2D
from keras_facealign.models.face_align_model import FaceAlignModel
from keras_facealign.networks.architecture import Architecture

__all__ = ["deepen", "widen"]

_Model = TypeVar("_Model", bound=FaceAlignModel)


def widen(model: _Model, factor: int = 2, noise: float = 0.0, seed: int = 0) -> _Model:
    """Makes a network of `factor` times the width with the same heatmaps.

    Copies of a channel that nothing tells apart would stay alike throughout training. With `noise`
    a kernel is shared out unevenly among the copies of its input: the shares add up to the whole,
    so the heatmaps stay the same, but the copies' gradients differ.

    Args:
        model: The trained network; it is left as it is.
        factor: How many times as many channels, at least 2. Channels that the architecture keeps at
            a least number (see `stem_widths`) may grow less.
        noise: Standard deviation of the shares, as a part of an even share; 0 keeps all copies
            alike. 0.5 is plenty.
        seed: Decides the shares.

    Returns:
        A new network of the same family, not compiled. It decodes as the old one does.

    Raises:
        FaceAlignError: If `factor` or `noise` is out of range; or the wider network is none that
            copies of channels make: it has a spatial transformer, other blocks in its stem, or
            numbers of channels that are no multiples.

    Example:
        >>> from keras_facealign import SATFaceAlign
        >>> small = SATFaceAlign(stacks=1, width=0.125, stem="light")
        >>> widen(small, noise=0.5).architecture.width
        0.25
    """
    if isinstance(factor, bool) or not isinstance(factor, int) or factor < 2:
        raise FaceAlignError(f"factor is {factor!r}; give a whole number, at least 2.")
    if not (math.isfinite(noise) and noise >= 0):
        raise FaceAlignError(f"noise is {noise!r}; give a finite number, at least 0.")
    old = model.architecture
    if old.spatial_transformer:
        # Its dense layer reads channel by channel what the wider network has pixel by pixel.
        raise FaceAlignError("A network with spatial_transformer=True cannot be widened.")
    wider = _like(model, width=old.width * factor)
    source, target = _weights(model), _weights(wider)
    changed = sorted(path.partition("/")[0] for path in source.keys() ^ target.keys())
    if changed:
        raise FaceAlignError(
            f"Width {old.width:g} cannot be widened to {wider.architecture.width:g}: there "
            f"{changed[0]!r} is another kind of block. Start from a larger width, or stem='light'."
        )
    mixed = _input_axes(wider)
    rng = np.random.default_rng(seed)
    for path, variable in target.items():
        shape = tuple(variable.shape)
        values = _array(source[path])
        if any(new % n for new, n in zip(shape, values.shape, strict=True)):
            raise FaceAlignError(
                f"Width {old.width:g} cannot be widened to {wider.architecture.width:g}: {path} of "
                f"shape {values.shape} would become {shape}, which is no multiple."
            )
        variable.assign(_with_copies(values, shape, mixed.get(variable.path), noise, rng))
    return wider


def deepen(model: _Model, stacks: int = 2) -> _Model:
    """Makes a network of more stacks, each of whose added ones has the heatmaps of the last.

    The added stacks are copies of the last one, and the convolutions that lead from a stack to the
    next start at zero: an added stack sees what the last one sees, until training has found what
    the other's features and heatmaps tell it.

    Args:
        model: The trained network; it is left as it is.
        stacks: How many stacks the result has, more than the model.

    Returns:
        A new network of the same family, not compiled. It decodes as the old one does.

    Raises:
        FaceAlignError: If the model has that many stacks already, or passes its features through
            the landmarks' channels between stacks (`Architecture.heads_between_stacks`).

    Example:
        >>> from keras_facealign import SATFaceAlign
        >>> deepen(SATFaceAlign(stacks=1, width=0.125, stem="light")).architecture.stacks
        2
    """
    old = model.architecture
    if isinstance(stacks, bool) or not isinstance(stacks, int) or stacks <= old.stacks:
        raise FaceAlignError(f"stacks is {stacks!r}; give more than the model's {old.stacks}.")
    if old.heads_between_stacks:
        raise FaceAlignError(
            f"A {old.topology} with dcn={old.dcn} cannot be deepened: between its stacks are no "
            "features but the landmarks' channels."
        )
    deeper = _like(model, stacks=stacks)
    source = _weights(model)
    for path, variable in _weights(deeper).items():
        layer, _, weight = path.partition("/")
        origin = f"{_original_layer(layer, old, stacks)}/{weight}"
        if origin in source:
            variable.assign(_array(source[origin]))
        elif path.endswith("_out3/kernel"):
            # The deformable convolution behind a stack hands on what it gets.
            identity = np.zeros(variable.shape, np.float32)
            identity[1, 1] = np.eye(variable.shape[-1])
            variable.assign(identity)
        else:
            variable.assign(np.zeros(variable.shape, np.float32))
    return deeper


def _like(model: _Model, **changes: float) -> _Model:
    """An untrained network of another size."""
    config = model.get_config()
    config["architecture"] = {**config["architecture"], **changes}
    other = type(model).from_config(config)
    other.decode_method = model.decode_method
    return other  # pyright: ignore[reportReturnType]


def _weights(model: FaceAlignModel) -> dict[str, keras.Variable]:
    """The weights by their paths, in the order of their layers."""
    return {variable.path: variable for variable in model.weights}


def _array(variable: keras.Variable) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable))


def _input_axes(model: FaceAlignModel) -> dict[str, int]:
    """Of each kernel that adds up channels, by its path, the axis of these channels."""
    axes = {}
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.Conv2DTranspose):
            axes[layer.kernel.path] = 3
        elif isinstance(layer, (keras.layers.Conv2D, DeformableConv2D)):
            axes[layer.kernel.path] = 2
    return axes


def _with_copies(
    values: np.ndarray,
    shape: tuple[int, ...],
    input_axis: int | None,
    noise: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """A weight of the wider network: every channel's copies side by side.

    Args:
        values: float32, of any shape.
        shape: What it is to become, multiples of its own.
        input_axis: Of the channels that are added up, and whose copies share a kernel. None if
            there are none.
        noise: See `widen`.
        rng: Draws the shares.
    """
    before = values.shape
    for axis, (new, old) in enumerate(zip(shape, before, strict=True)):
        values = np.repeat(values, new // old, axis)
    if input_axis is None:
        return values
    channels, copies = before[input_axis], shape[input_axis] // before[input_axis]
    split = (*shape[:input_axis], channels, copies, *shape[input_axis + 1 :])
    shares = np.ones(split, np.float32)
    if noise > 0 and copies > 1:
        drawn = noise * rng.standard_normal(split, np.float32)
        shares += drawn - drawn.mean(axis=input_axis + 1, keepdims=True)
    return values * (shares / copies).reshape(shape)


def _original_layer(name: str, old: Architecture, stacks: int) -> str:
    """Name of the layer that a layer of the deeper network starts as; of no layer if of none."""
    last = old.stacks - 1
    if name == "heatmap":
        return name
    for prefix in ("heatmap", "stack", "sat"):
        digits = name[len(prefix) :].partition("_")[0]
        if name.startswith(prefix) and digits.isdigit():
            index = int(digits)
            break
    else:
        return name
    if index < last:
        return name
    if prefix == "heatmap":
        return "heatmap"
    if name.endswith(("_ll2", "_out2", "_out3")):
        return ""
    return f"{prefix}{last}{name[len(prefix) + len(digits) :]}"
