"""`keras-facealign export`: networks as files for servers, phones and browsers."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from keras_facealign.errors import FaceAlignError

__all__ = ["export"]


class Format(str, Enum):
    """What to write."""

    SAVED_MODEL = "saved_model"
    TFLITE = "tflite"
    ONNX = "onnx"


class Quantization(str, Enum):
    """How weights are stored and convolutions computed."""

    NONE = "none"
    FLOAT16 = "float16"
    INT8 = "int8"


def export(
    preset: Annotated[str, typer.Argument(help="Name of a preset, or folder that holds one.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder for the file, made if missing; or the file's name."
        ),
    ],
    format: Annotated[Format, typer.Option("--format", "-f", help="What to write.")] = (
        Format.TFLITE
    ),
    quantize: Annotated[
        Quantization,
        typer.Option(help="float16 halves the file; int8 (tflite only) also the time."),
    ] = Quantization.NONE,
    decode: Annotated[
        bool, typer.Option("--decode/--no-decode", help="Landmarks come out, or heatmaps.")
    ] = True,
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="N|dynamic",
            help="Faces that a call takes; default: 1 for tflite, else dynamic.",
            show_default=False,
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Pictures with faces to calibrate int8 and to check the file on; default: drawn "
            "faces.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a preset as a SavedModel, a TFLite or an ONNX file.

    The file takes uint8 RGB crops and gives landmarks in pixels of the crop with their confidence;
    docs/export.md describes both. It is compared with the Keras model before it gets its name:
    landmarks may differ by 0.05 pixels in the mean, with float16 by 0.1, with int8 by 0.5.
    """
    from keras_facealign.export import export_model

    report = export_model(
        preset, output, format.value, quantize.value, decode, _batch(batch), calibration
    )
    typer.echo(f"Parity: {report.parity}")
    typer.echo(f"Wrote {report.path} ({report.size / 1e6:.2f} MB)")


def _batch(text: str | None) -> int | str | None:
    if text is None or text == "dynamic":
        return text
    try:
        return int(text)
    except ValueError:
        raise FaceAlignError(f"--batch is {text!r}; give a number or dynamic.") from None
