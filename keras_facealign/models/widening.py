"""Grows trained networks, to continue training from there.

`widen`, `deepen` and `make_deformable` don't change what a network computes; `rescale` keeps the
weights.

A widened network has several adjacent copies of every channel, and every convolution spreads its
kernel over the copies of its input. Adjacent copies stay adjacent when blocks concatenate, so each
layer can be widened independently. A deepened network has more stacks, which start as copies of the
last one. After Chen, Goodfellow and Shlens, Net2Net: Accelerating
Learning via Knowledge Transfer (ICLR 2016).
"""

from __future__ import annotations

import math
from typing import TypeVar

import keras
import numpy as np

from keras_facealign.errors import FaceAlignError, check_integer
from keras_facealign.layers import DeformableConv2D
from keras_facealign.models.face_align_model import FaceAlignModel
from keras_facealign.networks.architecture import DEFORMABLE, Architecture

_STEM_LAYERS = ("conv", "bn", "res")

_Model = TypeVar("_Model", bound=FaceAlignModel)


def widen(model: _Model, factor: int = 2, noise: float = 0.0, seed: int = 0) -> _Model:
    """Makes a network of `factor` times the width with the same heatmaps.

    Identical copies of a channel would stay identical throughout training. With `noise` a kernel is
    distributed unevenly over the copies of its input: the shares add up to the whole, so the
    heatmaps stay the same, but the copies' gradients differ.

    Args:
        model: The trained network; it is not changed.
        factor: Multiplier of the channels, at least 2. Channels for which the architecture has a
            minimum (see `stem_widths`) may grow less.
        noise: Standard deviation of the shares relative to an even share; 0 keeps all copies
            identical. 0.5 is plenty.
        seed: Seed of the shares.

    Returns:
        A new network of the same class and decoding method, not compiled.

    Raises:
        FaceAlignError: If `factor` or `noise` is out of range; or the wider network cannot be made
            by copying channels: it has a spatial transformer, other blocks in its stem, or numbers
            of channels that are not multiples.

    Example:
        >>> from keras_facealign import SATFaceAlign
        >>> small = SATFaceAlign(stacks=1, depth=1, width=0.125, stem="light")
        >>> widen(small, noise=0.5).architecture.width
        0.25
    """
    check_integer("factor", factor, 2)
    if not (math.isfinite(noise) and noise >= 0):
        raise FaceAlignError(f"noise is {noise!r}; give a finite number, at least 0.")
    old = model.architecture
    if old.spatial_transformer:
        # Its dense layer flattens channels and pixels, in an order that copies would break.
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
                f"shape {values.shape} would become {shape}, which is not a multiple."
            )
        variable.assign(_with_copies(values, shape, mixed.get(variable.path), noise, rng))
    return wider


def deepen(model: _Model, stacks: int = 2) -> _Model:
    """Makes a network of more stacks; each added one computes the heatmaps of the last.

    The added stacks are copies of the last one, and the convolutions between stacks start at zero:
    an added stack has the same input as the last one until training changes that.

    Args:
        model: The trained network; it is not changed.
        stacks: Number of stacks of the result, more than the model has.

    Returns:
        A new network of the same class and decoding method, not compiled.

    Raises:
        FaceAlignError: If the model has that many stacks already, or passes its features through
            the landmarks' channels between stacks (`Architecture.heads_between_stacks`).

    Example:
        >>> from keras_facealign import SATFaceAlign
        >>> deepen(SATFaceAlign(stacks=1, depth=1, width=0.125, stem="light")).architecture.stacks
        2
    """
    old = model.architecture
    check_integer("stacks", stacks, old.stacks + 1)
    if old.heads_between_stacks:
        raise FaceAlignError(
            f"A {old.topology} with deformable={old.deformable!r} cannot be deepened: the only "
            "features between its stacks are the landmarks' channels."
        )
    deeper = _like(model, stacks=stacks)
    source = _weights(model)
    for path, variable in _weights(deeper).items():
        layer, _, weight = path.partition("/")
        origin = f"{_original_layer(layer, old, stacks)}/{weight}"
        if origin in source:
            variable.assign(_array(source[origin]))
        elif path.endswith("_out3/kernel"):
            variable.assign(_at_center(np.eye(variable.shape[-1]), variable.shape))
        else:
            variable.assign(np.zeros(variable.shape, np.float32))
    return deeper


def make_deformable(model: _Model, where: str = "both") -> _Model:
    """Makes a network's convolutions deformable; the result computes the same heatmaps.

    The 1x1 convolutions of the heads become the center of 3x3 kernels, the convolutions between
    stacks start as the identity, and all offsets as zero: the paper's inside transformer, before it
    has learned anything. Stacked Dense U-Nets, section 3.2.

    Args:
        model: The trained network; it is not changed.
        where: Which convolutions of the result are deformable: "between", "heads" or "both", see
            `Architecture`.

    Returns:
        A new network of the same class and decoding method, not compiled.

    Raises:
        FaceAlignError: If the model has deformable convolutions already, or no weights of the
            result give the same heatmaps: features between stacks would pass through the landmarks'
            channels, or a head would normalize in front of its convolution.

    Example:
        >>> from keras_facealign import SATFaceAlign
        >>> plain = SATFaceAlign(stacks=1, depth=1, width=0.125, stem="light")
        >>> make_deformable(plain).architecture.deformable
        'both'
    """
    old = model.architecture
    if where not in DEFORMABLE[1:]:
        raise FaceAlignError(f"where is {where!r}; choose one of: {', '.join(DEFORMABLE[1:])}.")
    if old.deformable != "none":
        raise FaceAlignError(
            f"The network has deformable={old.deformable!r} already; give one that has none."
        )
    changed = _like(model, deformable=where)
    new = changed.architecture
    if new.heads_between_stacks:
        raise FaceAlignError(
            f"A {old.topology} with deformable={where!r} cannot have the same heatmaps: the only "
            "features between its stacks are the landmarks' channels."
        )
    if new.deformable_heads and old.variant == "insightface_2018":
        raise FaceAlignError(
            "Deformable heads of variant='insightface_2018' normalize in front of the convolution, "
            "and cannot have the same heatmaps."
        )
    source = _weights(model)
    for path, variable in _weights(changed).items():
        values = _array(source[path]) if path in source else np.zeros(variable.shape, np.float32)
        if path not in source and path.endswith("_out3/kernel"):
            values = _at_center(np.eye(variable.shape[-1]), variable.shape)
        elif values.shape != tuple(variable.shape):
            values = _at_center(values[0, 0], variable.shape)
        variable.assign(values)
    return changed


def rescale(
    model: _Model,
    *,
    input_size: int | None = None,
    map_size: int | None = None,
    stem: str | None = None,
) -> _Model:
    """Makes a network for other input or map sizes, or with another stem, from the same weights.

    The stacks of a network for larger maps apply the same kernels at a finer scale. Its heatmaps
    are therefore not the old ones, but close enough to need a fraction of the training. A stem of
    another kind, or for another ratio of input and maps, starts untrained; `examples/grow_2d.py`
    fits it to the old one's features.

    Args:
        model: The trained network; it is not changed.
        input_size: Side of the input in pixels; default: the model's.
        map_size: Side of the heatmaps in pixels; default: the model's.
        stem: Kind of stem, see `Architecture`; default: the model's.

    Returns:
        A new network of the same class and decoding method, not compiled. `landmark_offset` keeps
        its length relative to the input.

    Raises:
        FaceAlignError: If the sizes are not possible; or the model has a spatial transformer, whose
            weights depend on the size of its input.

    Example:
        >>> from keras_facealign import SATFaceAlign
        >>> small = SATFaceAlign(1, 1, width=0.125, stem="light", map_size=32)
        >>> rescale(small, map_size=64).architecture.map_size
        64
    """
    old = model.architecture
    if old.spatial_transformer:
        raise FaceAlignError("A network with spatial_transformer=True cannot be rescaled.")
    given = {"input_size": input_size, "map_size": map_size, "stem": stem}
    other = _like(model, **{name: value for name, value in given.items() if value is not None})
    x, y = (offset * other.input_size / old.input_size for offset in model.landmark_offset)
    other.landmark_offset = (x, y)
    source = _weights(model)
    same_stem = _stem_kind(other.architecture) == _stem_kind(old)
    for path, variable in _weights(other).items():
        if same_stem or not path.startswith(_STEM_LAYERS):
            variable.assign(_array(source[path]))
    return other


def _stem_kind(architecture: Architecture) -> tuple[str, float]:
    """What decides the layers of a network's stem, besides its width."""
    return architecture.stem, architecture.input_size / architecture.map_size


def _like(model: _Model, **changes: float | str) -> _Model:
    """Builds an untrained network of another size or kind."""
    config = model.get_config()
    config["architecture"] = {**config["architecture"], **changes}
    other = type(model).from_config(config)
    other.decode_method = model.decode_method
    return other  # pyright: ignore[reportReturnType]


def _weights(model: FaceAlignModel) -> dict[str, keras.Variable]:
    """Weights by path, in the order of the layers."""
    return {variable.path: variable for variable in model.weights}


def _array(variable: keras.Variable) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable))


def _at_center(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a 3x3 kernel that convolves like a 1x1 kernel (input channels, output channels)."""
    kernel = np.zeros(shape, np.float32)
    kernel[1, 1] = values
    return kernel


def _input_axes(model: FaceAlignModel) -> dict[str, int]:
    """Path of each kernel that sums over channels: the axis of these channels."""
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
    """Computes a weight of the wider network, with the copies of every channel adjacent.

    Args:
        values: float32, of any shape.
        shape: Shape of the result, multiples of that of `values`.
        input_axis: Axis of the channels that are summed over; None if there is none.
        noise: See `widen`.
        rng: Random generator for the shares.
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
    """Name of the layer that a layer of the deeper network is copied from; "" if there is none."""
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
