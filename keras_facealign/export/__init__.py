"""Networks in the form that they run fastest in: plain graphs, batch norm folded, and back."""

from keras_facealign.export.folding import fold_batch_norm
from keras_facealign.export.graph import Graph, Node, UnsupportedLayerError, trace
from keras_facealign.export.simplify import simplify

__all__ = ["Graph", "Node", "UnsupportedLayerError", "fold_batch_norm", "simplify", "trace"]
