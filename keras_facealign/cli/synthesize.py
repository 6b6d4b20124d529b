"""`keras-facealign synthesize-poses`: faces of 300W turned to the side, with 3D landmarks."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_facealign.errors import FaceAlignError

if TYPE_CHECKING:
    from keras_facealign.data.examples import ExamplePaths

__all__ = ["synthesize_poses"]

_CONTACT_SHEET = "contact_sheet.png"


def synthesize_poses(
    data: Annotated[Path, typer.Option(help="Folder of 300W, the one that holds afw.")],
    model: Annotated[
        Path,
        typer.Option(help="ICT-FaceKit's head model as one .npz file, which pack-head makes."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the views; an unfinished run resumes.")
    ],
    yaws: Annotated[
        str, typer.Option(help="Degrees to turn each head to, on the way it is turned already.")
    ] = "30,50,70,90",
    split: Annotated[str, typer.Option(help="Split to take the faces from.")] = "train",
    limit: Annotated[int | None, typer.Option(min=1, help="Take the first faces only.")] = None,
    size: Annotated[int, typer.Option(min=32, max=2048, help="Side of the pictures.")] = 256,
    jitter: Annotated[
        float, typer.Option(min=0, max=20, help="Degrees by which yaws are shifted at random.")
    ] = 5.0,
    seed: Annotated[
        int, typer.Option(min=0, help="Decides the jitter, and frontal faces' way.")
    ] = 0,
    sheet: Annotated[int, typer.Option(min=0, help="Faces on the contact sheet.")] = 8,
) -> None:
    """Turn the faces of 300W to the side, as 300W-LP was made.

    A 3D head is fitted to the landmarks of each face and turned, and the picture is drawn again
    with it. Every face gives its unturned view and one view for each yaw that it has not passed,
    with the 68 landmarks of the head, hidden ones too. keras_facealign.data.face_profiling reads
    them.

    The command pack-head makes the head model of ICT-FaceKit's published files. It has the arrays
    neutral (V, 3), identity (I, V, 3), expression (E, V, 3), faces_v (F, 4) and
    idx_to_landmark_verts (68): the vertices of ICT-FaceKit's neutral head, the offsets of its
    shapes from it, its quadrilaterals and its landmarks.

    The same command goes on with a run that was stopped: faces that are written are passed over.
    Faces that cannot be used are named and left out. contact_sheet.png shows what came out.
    """
    from keras_facealign.data.examples import read_sample
    from keras_facealign.data.face_profiling import (
        LABELS_VERSION,
        HeadFitter,
        ViewSettings,
        check_yaws,
        is_written,
        load_head_model,
        open_output,
        turned_views,
        write_views,
    )
    from keras_facealign.data.readers.ibug_300w import find_samples

    settings = ViewSettings(yaws=check_yaws(_numbers(yaws)), jitter=jitter, size=size)
    samples = find_samples(data, split)[:limit]
    head = load_head_model(model)
    open_output(
        output,
        {
            "data_set": "ibug_300w",
            "labels_version": LABELS_VERSION,
            "split": split,
            "model": model.name,
            "yaws": list(settings.yaws),
            "jitter": jitter,
            "size": size,
            "seed": seed,
        },
    )
    fitter = HeadFitter(head)

    import numpy as np

    def make(sample: ExamplePaths) -> bool:
        """Writes the views of a face; False where they were there."""
        name = _name(sample)
        if is_written(output, name):
            return False
        example = read_sample(sample, num_landmarks=68)
        # Of its own for each face, so that it does not matter where a run was stopped.
        rng = np.random.default_rng([seed, zlib.crc32(sample.file_name.encode())])
        write_views(output, name, turned_views(example, fitter, settings, rng), sample.file_name)
        return True

    made, failures = _make_all(samples, make)
    done = len(samples) - len(failures)
    typer.echo(f"{made} faces made, {done - made} were there; the views are in {output}")
    if sheet and done:
        path = _write_sheet(samples, output, sheet)
        typer.echo(f"Look at {path}")
    if failures:
        typer.echo(f"{len(failures)} of {len(samples)} faces failed:", err=True)
        for failure in failures:
            typer.echo(f"  {failure}", err=True)
        if not done:
            raise typer.Exit(2)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise FaceAlignError(
            f"--yaws {text!r} is no list of numbers; give it like 30,50,70"
        ) from None


def _name(sample: ExamplePaths) -> str:
    """The face's name in the output: that of its picture without the ending."""
    folder, _, file = sample.file_name.rpartition("/")
    return f"{folder}/{file.rpartition('.')[0]}"


def _make_all(
    samples: list[ExamplePaths], make: Callable[[ExamplePaths], bool]
) -> tuple[int, list[str]]:
    """How many faces were made, and what was wrong with those that could not be."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    made, failures = 0, []
    columns = (TextColumn("Turning"), BarColumn(), MofNCompleteColumn(), Remaining())
    with Progress(*columns, console=Console()) as progress:
        task = progress.add_task("", total=len(samples))
        for sample in samples:
            try:
                made += make(sample)
            except FaceAlignError as error:
                line = " ".join(str(error).split())
                # Some errors know the landmarks alone.
                failures.append(
                    line if str(sample.file_name) in line else f"{sample.file_name}: {line}"
                )
            progress.advance(task)
    return made, failures


def _write_sheet(samples: list[ExamplePaths], output: Path, rows: int) -> Path:
    """A picture with a line for each of some faces: annotated, then its views with landmarks."""
    import numpy as np

    from keras_facealign.data.examples import read_sample
    from keras_facealign.data.face_profiling import is_written, read_labels
    from keras_facealign.data.images import read_image
    from keras_facealign.formats import write_image

    cell = 224
    lines = []
    for sample in (s for s in samples if is_written(output, _name(s))):
        labels = read_labels(output, _name(sample))
        example = read_sample(sample, num_landmarks=68)
        line = [_source(example, cell)]
        for view, (points, seen) in enumerate(
            zip(labels.landmarks, labels.visibility, strict=True)
        ):
            picture = read_image(output / f"{_name(sample)}_{view}.jpg")
            line.append(_drawn(picture, points, seen, cell))
        lines.append(line)
        if len(lines) == rows:
            break
    canvas = np.zeros((len(lines) * cell, max(map(len, lines)) * cell, 3), np.uint8)
    for row, line in enumerate(lines):
        canvas[row * cell : (row + 1) * cell, : len(line) * cell] = np.concatenate(line, axis=1)
    path = output / _CONTACT_SHEET
    write_image(path, canvas)
    return path


def _source(example: Any, cell: int) -> Any:
    """The annotated face, cut out."""
    import cv2

    from keras_facealign.geometry import crop_matrix, transform_points

    matrix = crop_matrix(example.box, cell, 2.0)
    picture = cv2.warpAffine(example.image, matrix, (cell, cell))
    return _drawn(picture, transform_points(matrix, example.landmarks), example.visibility, cell)


def _drawn(picture: Any, points: Any, visibility: Any, cell: int) -> Any:
    """A view with its landmarks at the size of a cell; hidden ones are pale."""
    import cv2
    import numpy as np

    from keras_facealign.geometry import landmarks_box, resize_matrix, transform_points
    from keras_facealign.inference import Face, draw_faces

    scale = cell / picture.shape[0]
    points = np.asarray(transform_points(resize_matrix(scale), points), np.float32)
    picture = cv2.resize(picture, (cell, cell), interpolation=cv2.INTER_AREA)
    face = Face(points, (np.asarray(visibility) == 2).astype(np.float32), landmarks_box(points))
    return draw_faces(picture, [face], edges=False)
