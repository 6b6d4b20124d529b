"""`keras-facealign pack`: the faces of data sets as one small file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_facealign.data.boxes import read_boxes
from keras_facealign.errors import FaceAlignError

__all__ = ["pack"]

_MIB = 2**20


def pack(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SET:SPLIT=FOLDER...",
            help="Data sets by their builders' names with a split each, in their official layouts, "
            "such as ibug_300w:train=/data/300w; all of one landmark scheme.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write; its name must end in .faces.npz.")
    ],
    quality: Annotated[int, typer.Option(help="JPEG quality of the crops, 1 to 100.")] = 85,
    side: Annotated[int, typer.Option(help="Side of a crop in pixels, border included.")] = 192,
    input_size: Annotated[
        int, typer.Option(help="Side of the crop's middle that the network is to look at.")
    ] = 128,
    boxes: Annotated[
        Path | None,
        typer.Option(
            help="CSV file of boxes to crop by, instead of the labels' own: columns image (path "
            "below the data set's folder), x0, y0, x1, y1 in pixels."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Pack the first faces of each set only.")
    ] = None,
    max_mib: Annotated[float, typer.Option(help="Largest file in MiB.")] = 25.0,
) -> None:
    """Cut faces out of data sets and write them, labels included, as one file for training.

    examples/train_gpu.py trains on such a file, on a machine that has little else. The file is
    under the license of the data sets, and shows people: keep it out of repositories.
    """
    from keras_facealign.data import packed

    if not output.name.endswith(".faces.npz"):
        raise FaceAlignError(
            f"{output}: give a name that ends in .faces.npz, which this project's .gitignore knows."
        )
    if not output.parent.is_dir():
        raise FaceAlignError(f"{output.parent}: there is no such folder; make it first.")
    skipped: list[str] = []
    faces = [_open(source, limit, skipped) for source in sources]
    count = packed.pack(
        (face for part in faces for face in part),
        output,
        quality,
        side,
        input_size,
        None if boxes is None else read_boxes(boxes),
        round(max_mib * _MIB),
    )
    for line in skipped:
        typer.echo(f"skipped: {line}", err=True)
    typer.echo(f"{count} faces, {output.stat().st_size / _MIB:.1f} MiB: {output}")


def _open(source: str, limit: int | None, skipped: list[str]) -> Iterator[Any]:
    """Starts reading a source; a malformed one fails at once."""
    from keras_facealign.data.catalog import load

    what, equals, folder = source.partition("=")
    name, _, split = what.partition(":")
    if not (equals and name and split and folder):
        raise FaceAlignError(f"{source!r} is no source; give SET:SPLIT=FOLDER.")
    if not Path(folder).is_dir():
        raise FaceAlignError(f"{folder}: there is no such folder; give that of {name}.")
    return islice(
        load(name, folder, split, on_skip=lambda error: skipped.append(str(error))), limit
    )
