"""Writes networks as files for other programs: SavedModel, TFLite and ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_facealign._lazy import attach

if TYPE_CHECKING:
    from keras_facealign.export.exporting import ExportReport, export_model

__all__ = ["ExportReport", "export_model"]

__getattr__, __dir__ = attach(__name__, {"exporting": ("ExportReport", "export_model")})
