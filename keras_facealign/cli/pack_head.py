"""`keras-facealign pack-head`: packs ICT-FaceKit's folder of meshes into one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keras_facealign.cli._common import check_output_file
from keras_facealign.cli.output import progress_bar, say


def pack_head(
    kit: Annotated[Path, typer.Argument(metavar="ICT_FACEKIT")],
    output: Annotated[Path, typer.Option("--output", "-o")],
) -> None:
    """Pack ICT-FaceKit's 3D head into the file that synthesize-poses needs.

    The kit is published under the MIT license as a folder of .obj files: a neutral head, identities
    and expressions. The file contains all of them, and the 68 landmarks of vertex_indices.json.

    Args:
        kit: A copy of github.com/ICT-VGL/ICT-FaceKit, or its folder FaceXModel.
        output: File to write, .npz.
    """
    from keras_facealign.data.face_profiling import pack_kit

    check_output_file(output, ".npz")
    meshes = len(list(kit.glob("*.obj"))) or len(list(kit.glob("FaceXModel/*.obj")))
    with progress_bar("Reading", meshes) as advance:
        model = pack_kit(kit, output, on_file=lambda name: advance())
    say(
        f"{len(model.identity)} identities and {len(model.expression)} expressions of "
        f"{len(model.neutral)} vertices of skin: {output}"
    )
