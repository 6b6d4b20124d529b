"""`keras-facealign pack-head`: ICT-FaceKit's folder of meshes as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keras_facealign.errors import FaceAlignError

__all__ = ["pack_head"]


def pack_head(
    kit: Annotated[
        Path,
        typer.Argument(
            metavar="ICT_FACEKIT",
            help="A copy of github.com/ICT-VGL/ICT-FaceKit, or its folder FaceXModel.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, .npz.")],
) -> None:
    """Pack ICT-FaceKit's 3D head into the file that synthesize-poses takes.

    The kit is published under the MIT license as a folder of .obj files: a neutral head, identities
    and expressions. The file holds all of them, and the 68 landmarks of vertex_indices.json.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from keras_facealign.data.face_profiling import pack_kit

    if output.suffix != ".npz":
        raise FaceAlignError(f"{output}: give a name that ends in .npz")
    if not output.parent.is_dir():
        raise FaceAlignError(f"{output.parent}: there is no such folder; make it first")
    columns = (TextColumn("Reading"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console()) as progress:
        meshes = len(list(kit.glob("*.obj"))) or len(list(kit.glob("FaceXModel/*.obj")))
        task = progress.add_task("", total=meshes)
        model = pack_kit(kit, output, on_file=lambda name: progress.advance(task))
    typer.echo(
        f"{len(model.identity)} identities and {len(model.expression)} expressions of "
        f"{len(model.neutral)} vertices of skin: {output}"
    )
