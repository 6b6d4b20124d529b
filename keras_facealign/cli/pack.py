"""`keras-facealign pack`: packs the faces of data sets into one small file."""

from __future__ import annotations

from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_facealign.cli import _common as common
from keras_facealign.data.boxes import read_boxes
from keras_facealign.data.partition import take_part
from keras_facealign.errors import FaceAlignError

_MIB = 2**20


def pack(
    sources: Annotated[list[str], typer.Argument(metavar="SET:SPLIT[:PART]=FOLDER...")],
    output: Annotated[Path, typer.Option("--output", "-o")],
    quality: int = 85,
    side: int | None = None,
    input_size: int = 128,
    boxes: common.CropBoxes = None,
    limit: common.Limit = None,
    max_mib: float = 25.0,
) -> None:
    """Crop the faces of data sets and write them, with their labels, as one file for training.

    examples/train_gpu.py trains on such a file, on a machine with few other packages. The license
    of the data sets applies to the file, and it shows people: keep it out of repositories.

    Args:
        sources: Data sets by their builders' names with a split each, in their official layouts,
            such as ibug_300w:train=/data/300w; all with the same landmark scheme. A third word
            takes a part of the split, by the files' names: train is three quarters, calibration
            and validation an eighth each, those of the command calibrate.
        output: File to write; its name must end in .faces.npz, which .gitignore excludes.
        quality: JPEG quality of the crops, 1 to 100.
        side: Side of a crop in pixels, including the border; default: one and a half times
            the input size.
        input_size: Side of the crop's center that the network is to see.
        limit: Pack the first faces of each set only.
        max_mib: Largest size of the file in MiB.
    """
    from keras_facealign.data import packed

    common.check_output_file(output, ".faces.npz")
    skipped: list[str] = []
    faces = [islice(_open(source, skipped), limit) for source in sources]
    crops = None if boxes is None else read_boxes(boxes)
    size = round(max_mib * _MIB)
    number = packed.pack(chain.from_iterable(faces), output, quality, side, input_size, crops, size)
    common.list_skipped(skipped)
    common.say(f"{number} faces, {output.stat().st_size / _MIB:.1f} MiB: {output}")


def _open(source: str, skipped: list[str]) -> Any:
    """Opens a source; a malformed one fails at once."""
    name_and_split, _, folder = source.partition("=")
    name, _, split_and_part = name_and_split.partition(":")
    split, colon, part = split_and_part.partition(":")
    if not (name and split and folder and bool(colon) == bool(part)):
        raise FaceAlignError(
            f"{source!r} is not a source; give SET:SPLIT=FOLDER or SET:SPLIT:PART=FOLDER."
        )
    if not Path(folder).is_dir():
        raise FaceAlignError(f"{folder}: there is no such folder; give that of {name}.")
    faces = common.load_faces(name, Path(folder), split, skipped)
    return take_part(faces, part) if part else faces
