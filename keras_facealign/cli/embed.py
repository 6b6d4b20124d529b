"""`keras-facealign embed`: computes the embeddings of normalized crops."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keras_facealign.cli import _common as common
from keras_facealign.cli.stopping import stoppable
from keras_facealign.data.files import find_photos
from keras_facealign.data.images import read_image
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.atomic import atomic_write

Network = Annotated[
    Path, typer.Option(help="Network from crops to embeddings: a .tflite, .onnx or .keras file.")
]
Mean = Annotated[float, typer.Option(help="Subtracted from the pixels, 0 to 255.")]
Scale = Annotated[float, typer.Option(help="What the pixels are divided by then.")]
FlipAverage = Annotated[
    bool, typer.Option("--flip-average", help="Add the embeddings of a crop and its mirror image.")
]


def embed(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER")],
    model: Network,
    output: Annotated[Path, typer.Option("--output", "-o")],
    mean: Mean = 127.5,
    scale: Scale = 128.0,
    flip_average: FlipAverage = False,
    batch_size: common.BatchSize = 32,
    strict: common.Strict = False,
) -> None:
    """Compute the embeddings of normalized crops.

    Writes an .npz file with `names`, the crops' paths below the folder, and `embeddings`, a row of
    length 1 for each: the product of two rows is the cosine of the faces. Crops that cannot be
    used are listed at the end. Ctrl-C writes what is done.

    Args:
        folder: Folder of crops, such as the output of normalize; its subfolders are searched.
        output: The .npz file.
    """
    import numpy as np

    from keras_facealign.recognition import Embedder

    common.check_output_file(output, ".npz")
    paths, _ = find_photos(folder, recursive=True)
    if not paths:
        raise FaceAlignError(f"{folder}: no image is there; give the folder of normalized crops")
    embedder = Embedder.from_file(model, mean, scale, flip_average)
    failures: list[str] = []
    names: list[str] = []
    vectors = []
    with common.progress_bar("Embedding", len(paths)) as advance, stoppable() as stop:
        for start in range(0, len(paths), batch_size):
            stop.check()
            batch = {}
            for path in paths[start : start + batch_size]:
                with common.collect_errors(failures, str(path)):
                    batch[path] = _read(path, embedder.input_size)
                advance()
            if batch:
                vectors.append(
                    embedder.embed(np.stack(list(batch.values())), list(map(str, batch)))
                )
                names += [path.relative_to(folder).as_posix() for path in batch]
    if names:
        arrays = {"names": np.array(names), "embeddings": np.concatenate(vectors)}
        atomic_write(output, lambda file: np.savez(file, **arrays))
        common.say(f"{len(names)} embeddings of {embedder.dimension} numbers are in {output}")
    common.report_failures(failures, len(paths), "crops", strict and stop.error is None)
    stop.finish(f"{len(names)} of {common.count(len(paths), 'crop')} done")


def _read(path: Path, size: int):
    image = read_image(path)
    if image.shape[:2] != (size, size):
        raise FaceAlignError(
            f"{path}: is {image.shape[1]}x{image.shape[0]} pixels, and the network takes "
            f"{size}x{size}; make crops with keras-facealign normalize --size {size}"
        )
    return image
