"""Networks as files for other programs: SavedModel, TFLite, ONNX; and the plain graphs behind them.

Each name loads its module at first use: `read_metadata` needs neither Keras nor TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_facealign.export.exporting import ExportReport, export_model
    from keras_facealign.export.folding import fold_batch_norm
    from keras_facealign.export.graph import Graph, Node, UnsupportedLayerError, trace
    from keras_facealign.export.metadata import read_metadata
    from keras_facealign.export.simplification import simplify

_HOMES = {
    "ExportReport": "exporting",
    "Graph": "graph",
    "Node": "graph",
    "UnsupportedLayerError": "graph",
    "export_model": "exporting",
    "fold_batch_norm": "folding",
    "read_metadata": "metadata",
    "simplify": "simplification",
    "trace": "graph",
}

__all__ = [
    "ExportReport",
    "Graph",
    "Node",
    "UnsupportedLayerError",
    "export_model",
    "fold_batch_norm",
    "read_metadata",
    "simplify",
    "trace",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
