"""Networks of the original code: its checkpoints in and out."""

from keras_facealign.converters.mxnet import (
    load_mxnet,
    load_weights,
    read_params,
    save_mxnet,
    write_params,
)

__all__ = ["load_mxnet", "load_weights", "read_params", "save_mxnet", "write_params"]
