"""Weights of the original networks, read from the files their authors published."""

from keras_facealign.converters.mxnet import load_weights, read_params

__all__ = ["load_weights", "read_params"]
