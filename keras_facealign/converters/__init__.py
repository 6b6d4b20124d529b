"""Converts checkpoints of the original MXNet code."""

from keras_facealign._deprecated import deprecated_names
from keras_facealign.converters.mxnet import (
    load_mxnet,
    load_mxnet_weights,
    read_params,
    save_mxnet,
    write_params,
)

__all__ = ["load_mxnet", "load_mxnet_weights", "read_params", "save_mxnet", "write_params"]

__getattr__ = deprecated_names(__name__)
