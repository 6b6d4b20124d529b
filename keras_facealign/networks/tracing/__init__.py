"""A network as a plain graph of array operations, for export and other runtimes."""

from keras_facealign.networks.tracing.folding import fold_batch_norm
from keras_facealign.networks.tracing.graph import Graph, Node, UnsupportedLayerError
from keras_facealign.networks.tracing.lowering import trace
from keras_facealign.networks.tracing.simplification import simplify

__all__ = ["Graph", "Node", "UnsupportedLayerError", "fold_batch_norm", "simplify", "trace"]
