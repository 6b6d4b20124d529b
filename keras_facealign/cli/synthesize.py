"""`keras-facealign synthesize-poses`: rotates the faces of 300W, with 3D landmarks."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_facealign.cli import _common as common
from keras_facealign.cli.stopping import stoppable
from keras_facealign.errors import FaceAlignError

if TYPE_CHECKING:
    from keras_facealign.data.examples import ExamplePaths

_CELL = 224  # side of a face on the contact sheet in pixels


def synthesize_poses(
    data: Path,
    model: Path,
    output: common.OutputFolder,
    yaws: str = "30,50,70,90",
    split: str = "train",
    limit: common.Limit = None,
    size: Annotated[int, typer.Option(min=32, max=2048)] = 256,
    jitter: Annotated[float, typer.Option(min=0, max=20)] = 5.0,
    seed: common.Seed = 0,
    sheet: Annotated[int, typer.Option(min=0)] = 8,
) -> None:
    """Rotate the faces of 300W to the side, as 300W-LP was made.

    A 3D head is fitted to the landmarks of each face and rotated, and the image is rendered again
    with it. Every face gives its original view and one view for each larger yaw, with the 68
    landmarks of the head, including hidden ones. keras_facealign.data.face_profiling reads them.

    The command pack-head makes the head model of ICT-FaceKit's published files. It has the arrays
    neutral (V, 3), identity (I, V, 3), expression (E, V, 3), faces_v (F, 4) and
    idx_to_landmark_verts (68): the vertices of ICT-FaceKit's neutral head, the offsets of its
    shapes from it, its quadrilaterals and its landmarks.

    Run the same command again to resume an interrupted run: existing faces are skipped. Unusable
    faces are named and left out. contact_sheet.png shows some of the results.

    Args:
        data: Folder of 300W, which contains afw.
        model: ICT-FaceKit's head model as one .npz file, which pack-head makes.
        output: Folder of the views; an unfinished run is resumed.
        yaws: Yaws in degrees to rotate each head to, in the direction it faces already.
        split: Split to take the faces from.
        limit: Take the first faces only.
        size: Side of the images.
        jitter: Largest random change of the yaws in degrees.
        seed: Seed of the jitter, and of the direction of frontal faces.
        sheet: Number of faces on the contact sheet.
    """
    import numpy as np

    from keras_facealign.data import face_profiling as profiling
    from keras_facealign.data.examples import read_sample
    from keras_facealign.data.readers.ibug_300w import find_samples

    angles = profiling.check_yaws(_numbers(yaws))
    settings = profiling.ViewSettings(yaws=angles, jitter=jitter, size=size)
    samples = find_samples(data, split)[:limit]
    fitter = profiling.HeadFitter(profiling.load_head_model(model))
    record = {"data_set": "ibug_300w", "labels_version": profiling.LABELS_VERSION, "split": split}
    record |= {"model": model.name, "yaws": list(angles), "jitter": jitter, "size": size}
    profiling.open_output(output, record | {"seed": seed})

    made, failures = 0, []
    with common.progress_bar("Rotating", len(samples)) as advance, stoppable() as stop:
        for sample in samples:
            stop.check()
            file_name, name = str(sample.file_name), _name(sample)
            if not profiling.is_written(output, name):
                with common.collect_errors(failures, file_name):
                    example = read_sample(sample, num_landmarks=68)
                    # Seeded for each face, so that a resumed run gives the same results.
                    rng = np.random.default_rng([seed, zlib.crc32(os.fsencode(file_name))])
                    views = profiling.turned_views(example, fitter, settings, rng)
                    profiling.write_views(output, name, views, file_name)
                    made += 1
            advance()
    stop.finish(f"{made} faces made; run the command again to resume")
    done = len(samples) - len(failures)
    common.say(f"{made} faces made, {done - made} existed; the views are in {output}")
    if sheet and done:
        common.say(f"See {_write_sheet(samples, output, sheet)}")
    common.report_failures(failures, len(samples), "faces")


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise FaceAlignError(
            f"--yaws {text!r} is not a list of numbers; give it like 30,50,70"
        ) from None


def _name(sample: ExamplePaths) -> str:
    """Makes the face's name in the output: the path of its image without the extension."""
    return Path(sample.file_name).with_suffix("").as_posix()


def _write_sheet(samples: list[ExamplePaths], output: Path, rows: int) -> Path:
    """Writes an image with one row for each face: the original, then its views with landmarks."""
    import cv2
    import numpy as np

    from keras_facealign.data import face_profiling as profiling
    from keras_facealign.data.examples import read_sample
    from keras_facealign.data.images import read_image
    from keras_facealign.formats import write_image
    from keras_facealign.geometry import crop_matrix, transform_points

    written = [s for s in samples if profiling.is_written(output, _name(s))][:rows]
    lines = []
    for sample in written:
        labels = profiling.read_labels(output, _name(sample))
        example = read_sample(sample, num_landmarks=68)
        matrix = crop_matrix(example.box, _CELL, 2.0)
        crop = cv2.warpAffine(example.image, matrix, (_CELL, _CELL))
        points = transform_points(matrix, example.landmarks)
        cells = [_draw(crop, points, example.visibility)]
        for view, label in enumerate(zip(labels.landmarks, labels.visibility, strict=True)):
            cells.append(_draw(read_image(output / f"{_name(sample)}_{view}.jpg"), *label))
        lines.append(np.concatenate(cells, axis=1))
    width = max(line.shape[1] for line in lines)
    padded = [np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0))) for line in lines]
    return write_image(output / "contact_sheet.png", np.concatenate(padded))


def _draw(image: Any, points: Any, visibility: Any) -> Any:
    """Draws a view with its landmarks at the size of a cell; hidden ones are pale."""
    import cv2
    import numpy as np

    from keras_facealign.geometry import landmarks_box, resize_matrix, transform_points
    from keras_facealign.inference import Face, draw_faces

    points = transform_points(resize_matrix(_CELL / image.shape[0]), points).astype(np.float32)
    image = cv2.resize(image, (_CELL, _CELL), interpolation=cv2.INTER_AREA)
    face = Face(points, (np.asarray(visibility) == 2).astype(np.float32), landmarks_box(points))
    return draw_faces(image, [face], edges=False)
