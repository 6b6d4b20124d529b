"""Writes landmarks to a file whose extension decides the format; files are never incomplete."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign.data.pts import write_pts
from keras_facealign.errors import FaceAlignError
from keras_facealign.formats.csv import CSVFrames, face_csv
from keras_facealign.formats.frames import FrameWriter, VideoInfo
from keras_facealign.formats.json import UNDECODABLE, JSONFrames, face_json
from keras_facealign.inference.aligner import Face
from keras_facealign.storage.atomic import atomic_path, atomic_write

FACE_FORMATS = ("json", "csv", "pts")
"""Formats of one face."""

FRAME_FORMATS: dict[str, Any] = {
    ".json": JSONFrames,
    ".jsonl": partial(JSONFrames, lines=True),
    ".csv": CSVFrames,
}
"""Extension of a file for a video, and its `FrameWriter`."""


def write_face(
    path: str | os.PathLike[str],
    face: Face,
    scheme: str = "ibug68",
    image: str | None = None,
    image_size: tuple[int, int] | None = None,
) -> Path:
    """Writes one face; the extension of the file decides the format.

    - `.json`: image, image_size, scheme, box, score, landmarks, confidence and, for iBUG's 68
      points, the head pose.
    - `.csv`: a line `landmark,x,y,confidence` for each landmark, followed by `sigma` and
      `visibility` if the face has them.
    - `.pts`: the landmarks alone, 1-based, as in 300W.

    `docs/formats.md` describes all fields.

    Args:
        path: The file to write; an existing file is replaced.
        face: The face.
        scheme: Name of the landmark scheme.
        image: Name of the image, for the JSON.
        image_size: (width, height) of the upright image in pixels, for the JSON.

    Returns:
        The path written.

    Raises:
        FaceAlignError: If the extension is unknown, the landmarks are not finite, or the file
            cannot be written.

    Example:
        >>> for index, face in enumerate(aligner.align("photo.jpg")):  # doctest: +SKIP
        ...     write_face(f"face{index}.json", face)
    """
    path = Path(path)
    if not np.isfinite(face.landmarks).all():
        raise FaceAlignError(f"{path}: the landmarks are not finite; check the model's weights")
    kind = path.suffix.lower().lstrip(".")
    if kind not in FACE_FORMATS:
        raise FaceAlignError(f"{path}: unknown format {path.suffix!r}; use .json, .csv or .pts")
    if kind == "pts":
        write_pts(path, face.landmarks)
        return path
    text = face_csv(face) if kind == "csv" else face_json(face, scheme, image, image_size)
    # One of many small files, which take little time to make again.
    return atomic_write(path, lambda file: file.write(text.encode()), sync=False)


@contextmanager
def frame_writer(path: str | os.PathLike[str], info: VideoInfo) -> Iterator[FrameWriter]:
    """Opens a file for a video's landmarks; it appears only when the block ends without an error.

    Frames are written as they come, so memory does not grow with the video.

    Args:
        path: The file: .json, .jsonl or .csv; an existing file is replaced.
        info: Description of the video.

    Yields:
        A `FrameWriter`; call its `finish` after the last frame.

    Raises:
        FaceAlignError: If the extension is unknown or the file cannot be written.

    Example:
        >>> info = VideoInfo("clip.mp4", 25.0, (640, 480))
        >>> with frame_writer("clip.jsonl", info) as writer:  # doctest: +SKIP
        ...     writer.write(0, 0.0, (640, 480), faces)
        ...     writer.finish(num_frames=1, complete=True)
    """
    path = Path(path)
    if path.suffix.lower() not in FRAME_FORMATS:
        raise FaceAlignError(f"{path}: unknown format {path.suffix!r}; use .json, .jsonl or .csv")
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", errors=UNDECODABLE, newline="") as stream,
    ):
        yield FRAME_FORMATS[path.suffix.lower()](stream, info)
