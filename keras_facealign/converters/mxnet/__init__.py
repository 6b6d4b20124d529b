"""Reads, recognizes, converts and writes checkpoints of the original MXNet networks."""

from keras_facealign._deprecated import deprecated_names
from keras_facealign.converters.mxnet.architecture_of import describe
from keras_facealign.converters.mxnet.checkpoint import (
    can_have_gate,
    load_mxnet,
    read_checkpoint,
    save_mxnet,
)
from keras_facealign.converters.mxnet.files import find_params, symbol_has_gate
from keras_facealign.converters.mxnet.params_file import read_params, write_params
from keras_facealign.converters.mxnet.weights import load_mxnet_weights

__all__ = [
    "can_have_gate",
    "describe",
    "find_params",
    "load_mxnet",
    "load_mxnet_weights",
    "read_checkpoint",
    "read_params",
    "save_mxnet",
    "symbol_has_gate",
    "write_params",
]

__getattr__ = deprecated_names(__name__)
