"""Gives a trained network other landmarks: all weights are kept but those of the heads.

The heads are 1x1 (or deformable) convolutions with an output for each landmark. A new landmark
starts with the head of a known one near it, or with an untrained head.

Between stacks, the heatmaps are added to the features by another convolution, `out2`, whose inputs
are landmarks. The new ones share the weights of the landmarks that they start from. What is missing
then is linear in the features that the heads read, and is added to the convolution `ll2` beside it:
whatever the landmarks, the next stack sees the features that it was trained on. Deformable heads
are no such linear map; there, the shared weights have to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import keras
import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import (
    LandmarkScheme,
    as_scheme,
    conversion_matrix,
    list_conversions,
    numbered_scheme,
    scheme_config,
)

# A `FaceAlignModel`, whose module imports this one.
_Model = TypeVar("_Model")


def with_landmarks(
    model: _Model,
    scheme: str | Mapping[str, Any] | LandmarkScheme | None = None,
    num_landmarks: int | None = None,
    mapping: Mapping[int, int] | None = None,
) -> _Model:
    """Makes a network for other landmarks with the weights of a trained one.

    Args:
        model: The trained network; it is not changed.
        scheme: The new landmark scheme, see `FaceAlignModel`. Default: a scheme of `num_landmarks`
            nameless points.
        num_landmarks: Number of new landmarks; default: the scheme's.
        mapping: For each new landmark that is to start from a known one: its index, and the index
            of that one among the model's. All others start untrained. Default: what is known about
            the two schemes, see `known_mapping`.

    Returns:
        A new network of the same class and decoding method, not compiled and not calibrated,
        without `landmark_offset`.

    Raises:
        FaceAlignError: If neither scheme nor number is given, they do not fit each other, or the
            mapping has an index that does not exist.

    Example:
        >>> from keras_facealign import SATFaceAlign
        >>> known = SATFaceAlign(stacks=1, width=0.125, stem="light")
        >>> with_landmarks(known, num_landmarks=5, mapping={0: 36, 1: 45}).scheme.name
        'points5'
    """
    known: Any = model
    new_scheme = _scheme(scheme, num_landmarks)
    mapping = known_mapping(known.scheme, new_scheme) if mapping is None else dict(mapping)
    _check_mapping(mapping, new_scheme.num_landmarks, known.num_landmarks)
    config = known.get_config()
    config.pop("landmark_offset", None)
    config["architecture"] = {
        **config["architecture"],
        "num_landmarks": new_scheme.num_landmarks,
    }
    config["scheme"] = scheme_config(new_scheme)
    other: Any = type(known).from_config(config)
    other.decode_method = known.decode_method
    source = {variable.path: _array(variable) for variable in known.weights}
    of_landmarks = {
        variable.path
        for layer in (*head_layers(other), *_readers(other))
        for variable in layer.weights
    }
    for variable in other.weights:
        if variable.path not in of_landmarks or _offsets(variable):
            variable.assign(source[variable.path])
    for layer in head_layers(other):
        _start_head(layer, source, mapping)
    for layer in _readers(other):
        _start_reader(layer, source, mapping)
    if not known.architecture.deformable_heads:
        _keep_features(other, source)
    return other


def known_mapping(source: LandmarkScheme, target: LandmarkScheme) -> dict[int, int]:
    """Finds the points that two schemes share, by their tables of conversion or their names.

    Args:
        source: The known scheme.
        target: The new scheme.

    Returns:
        For points of the target the nearest of the source; empty if nothing is known.

    Example:
        >>> from keras_facealign.landmarks import FIVE, IBUG68
        >>> known_mapping(IBUG68, FIVE)[2]
        30
    """
    if source == target:
        return {k: k for k in range(target.num_landmarks)}
    known = list_conversions()
    if (source.name, target.name) in known:
        table = conversion_matrix(source.name, target.name)
        return {k: int(row.argmax()) for k, row in enumerate(table) if row.any()}
    if (target.name, source.name) in known:
        table = conversion_matrix(target.name, source.name)
        return {k: int(table[:, k].argmax()) for k in range(table.shape[1]) if table[:, k].any()}
    places = {name: place for place, name in enumerate(source.names or ())}
    names = enumerate(target.names or ())
    return {k: places[name] for k, name in names if name in places}


def head_layers(model: Any) -> list[keras.layers.Layer]:
    """Returns the layers with an output for each landmark.

    Args:
        model: The network.

    Returns:
        The convolutions that make the heatmaps of each stack, and with
        `Architecture.heads_between_stacks` those between stacks.
    """
    arch = model.architecture
    names = [f"heatmap{i}" for i in range(arch.stacks - 1)] + ["heatmap"]
    if arch.heads_between_stacks:
        names += [f"stack{i}_out3" for i in range(arch.stacks)]
    return [model.get_layer(name) for name in names]


def _readers(model: Any) -> list[keras.layers.Layer]:
    """The layers with an input for each landmark."""
    arch = model.architecture
    between = arch.heads_between_stacks
    names = [f"stack{i}_out2" for i in range(arch.stacks - (not between))]
    if between:
        names += [f"stack{i}_body" for i in range(arch.stacks - 1)]
    return [model.get_layer(name) for name in names]


def _scheme(scheme: Any, num_landmarks: int | None) -> LandmarkScheme:
    if scheme is None:
        if num_landmarks is None:
            raise FaceAlignError("Give the landmarks: a scheme, or num_landmarks.")
        return numbered_scheme(num_landmarks)
    scheme = as_scheme(scheme)
    if num_landmarks not in (None, scheme.num_landmarks):
        raise FaceAlignError(
            f"num_landmarks={num_landmarks} does not fit scheme {scheme.name!r}, which has "
            f"{scheme.num_landmarks} points."
        )
    return scheme


def _check_mapping(mapping: dict[int, int], new: int, known: int) -> None:
    for one, other in mapping.items():
        for value, count, what in ((one, new, "new"), (other, known, "known")):
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise FaceAlignError(f"mapping: {value!r} is not the index of a landmark.")
            if not 0 <= value < count:
                raise FaceAlignError(
                    f"mapping: {one}: {other} is not possible; there are {count} {what} landmarks, "
                    f"0 to {count - 1}."
                )


def _array(variable: keras.Variable) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable), np.float32)


def _offsets(variable: keras.Variable) -> bool:
    """Whether a weight is of the convolution that computes a deformable one's offsets."""
    return "/offset/" in variable.path


def _start_head(layer: Any, source: dict[str, np.ndarray], mapping: dict[int, int]) -> None:
    for variable in layer.weights:
        if _offsets(variable):
            continue
        values, known = _array(variable), source[variable.path]
        for new, old in mapping.items():
            values[..., new] = known[..., old]
        variable.assign(values)


def _start_reader(layer: Any, source: dict[str, np.ndarray], mapping: dict[int, int]) -> None:
    """Divides the weights of a known landmark among the new ones that start from it."""
    shares = {old: list(mapping.values()).count(old) for old in mapping.values()}
    kernel, known = layer.kernel, source[layer.kernel.path]
    values = np.zeros(kernel.shape, np.float32)
    for new, old in mapping.items():
        values[:, :, new] = known[:, :, old] / shares[old]
    kernel.assign(values)
    layer.bias.assign(source[layer.bias.path])


def _keep_features(model: Any, source: dict[str, np.ndarray]) -> None:
    """Adds to `ll2` what the new heatmaps lack of the old ones' part in the next stack's input."""
    last = model.architecture.stacks - 1
    for i in range(last + model.architecture.heads_between_stacks):
        head: Any = model.get_layer("heatmap" if i == last else f"heatmap{i}")
        reader: Any = model.get_layer(f"stack{i}_out2")
        back: Any = model.get_layer(f"stack{i}_ll2")
        for name in ("kernel", "bias"):
            variable = getattr(back, name)
            before = _through(source[getattr(head, name).path], source[reader.kernel.path])
            after = _through(_array(getattr(head, name)), _array(reader.kernel))
            variable.assign(source[variable.path] + before - after)


def _through(head: np.ndarray, reader: np.ndarray) -> np.ndarray:
    """Multiplies the 1x1 convolutions of heatmaps and of their way back, or the former's bias."""
    return head @ reader[0, 0]
