"""`keras-facealign export`: writes networks as files for servers, phones and browsers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from keras_facealign.cli._common import Preset
from keras_facealign.cli.output import say
from keras_facealign.cli.quiet import import_keras
from keras_facealign.errors import FaceAlignError

Format = Literal["saved_model", "tflite", "onnx"]


def export(
    preset: Preset,
    output: Annotated[Path, typer.Option("--output", "-o")],
    format: Annotated[Format, typer.Option("--format", "-f")] = "tflite",
    quantize: Literal["none", "float16", "int8"] = "none",
    decode: bool = True,
    batch: Annotated[str, typer.Option(metavar="N|dynamic", show_default=False)] = "",
    calibration: Annotated[Path | None, typer.Option(metavar="FOLDER", show_default=False)] = None,
) -> None:
    """Write a preset as a SavedModel, a TFLite or an ONNX file.

    The input of the file is uint8 RGB crops; the output is landmarks in pixels of the crop with
    their confidence; docs/export.md describes both. The file is compared with the Keras model
    before it appears: landmarks may differ by 0.05 pixels on average, with float16 by 0.1, with
    int8 by 0.5.

    Args:
        output: Folder for the file, created if missing; or the file's name.
        format: Format of the file.
        quantize: float16 halves the size of the file; int8 (tflite only) also the run time.
        decode: Output landmarks, or heatmaps.
        batch: Number of faces per call; default: 1 for tflite, else dynamic.
        calibration: Folder of images with faces to calibrate int8 and to check the file on;
            default: synthetic faces.
    """
    import_keras()
    from keras_facealign.export import export_model

    size = int(batch) if batch.lstrip("-").isdigit() else batch or None
    if isinstance(size, str) and size != "dynamic":
        raise FaceAlignError(f"--batch is {batch!r}; give a number or dynamic.")
    report = export_model(preset, output, format, quantize, decode, size, calibration)
    say(f"Parity: {report.parity}")
    say(f"Wrote {report.path} ({report.size / 1e6:.2f} MB)")
