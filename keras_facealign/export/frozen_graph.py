"""Freezes a network, its normalization and its decoding into one TensorFlow graph of constants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.export.quantize import calibrate_ranges, evaluate, fake_quantized
from keras_facealign.models import FaceAlignModel
from keras_facealign.networks.tracing.graph import Graph, UnsupportedLayerError
from keras_facealign.networks.tracing.lowering import trace
from keras_facealign.networks.tracing.simplification import simplify
from keras_facealign.ops import deform_implementation


@dataclass(frozen=True)
class FrozenGraph:
    """A TensorFlow graph in which all weights are constants.

    Args:
        graph_def: The graph.
        input: Name of the tensor that holds the images.
        outputs: Names of the result tensors by the names that exported files give them.
        shape: (B or None, S, S, 3), shape of the images, uint8.
    """

    graph_def: Any
    input: str
    outputs: dict[str, str]
    shape: tuple[int | None, ...]


def freeze(
    model: FaceAlignModel,
    name: str,
    decode: bool,
    batch: int | None,
    calibration: np.ndarray | None = None,
) -> FrozenGraph:
    """Builds the graph from uint8 pixels to landmarks or heatmaps.

    Args:
        model: The model.
        name: Name of the model in error messages.
        decode: Whether to decode the heatmaps.
        batch: Number of faces, or None for any number.
        calibration: Crops, uint8 (N, S, S, 3), to calibrate int8 on, or None to compute in float.

    Returns:
        The graph.

    Raises:
        FaceAlignError: If int8 is asked of a network that it does not support.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    shape = (batch, model.input_size, model.input_size, 3)
    # Native code has no place in a file.
    with deform_implementation("portable"):
        network = _network(model, name, calibration)

        # No control flow depends on tensors: translating the functions would only take time.
        @tf.function(
            input_signature=[tf.TensorSpec(shape, tf.uint8, name="images")], autograph=False
        )
        def serve(images: Any) -> dict[str, Any]:
            heatmaps, frames = network(tf.cast(images, tf.float32))
            return model.landmark_outputs(heatmaps, frames) if decode else {"heatmaps": heatmaps}

        traced = serve.get_concrete_function()
    names = sorted(traced.structured_outputs)  # the order in which TensorFlow flattens a dict
    frozen = convert_variables_to_constants_v2(traced)
    outputs = dict(zip(names, (tensor.name for tensor in frozen.outputs), strict=True))
    graph_def = frozen.graph.as_graph_def()
    for node in graph_def.node:
        # Custom gradients are Python functions, which no file can hold.
        if "_gradient_op_type" in node.attr:
            del node.attr["_gradient_op_type"]
    return FrozenGraph(graph_def, frozen.inputs[0].name, outputs, shape)


def _network(
    model: FaceAlignModel, name: str, calibration: np.ndarray | None
) -> Callable[[Any], Any]:
    """A function from images to heatmaps and frames (`FaceAlignModel.heatmaps_and_frames`)."""
    try:
        graph = _graph_to_decoded_heatmaps(model)
    except UnsupportedLayerError as error:
        if calibration is not None:
            raise FaceAlignError(f"{name} cannot be computed in int8: {error}") from error

        def forward(images: Any) -> tuple[Any, Any]:
            heatmaps, frames = model.heatmaps_and_frames(images, training=False)
            return heatmaps[-1], frames

        return forward

    if calibration is None:
        return lambda images: (evaluate(graph, images), None)
    rounded = fake_quantized(graph, calibrate_ranges(graph, calibration))
    return lambda images: (rounded(images), None)


def _graph_to_decoded_heatmaps(model: FaceAlignModel) -> Graph:
    """The network up to the heatmaps that are decoded."""
    graph = trace(model, keep_layers=True)
    stacks = model.architecture.stacks
    last = stacks if model.architecture.heads_between_stacks else stacks - 1
    graph.outputs = [graph.outputs[last]]
    return simplify(graph)
