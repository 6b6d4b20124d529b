"""CSV: one line for each landmark of a face, or for each face of a video frame."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TextIO

import numpy as np

from keras_facealign.formats.frames import Faces, VideoInfo
from keras_facealign.inference.aligner import Face


def _values(face: Face) -> tuple[list[str], list[list[str]]]:
    """Formats a face's landmarks: names of the columns, and one row for each landmark."""
    x, y = np.asarray(face.landmarks).T
    columns = {"x": (x, 3), "y": (y, 3), "confidence": (face.confidence, 4)}
    columns |= {} if face.sigma is None else {"sigma": (face.sigma, 3)}
    columns |= {} if face.visibility is None else {"visibility": (face.visibility, 4)}
    texts = [[f"{v:.{digits}f}" for v in values] for values, digits in columns.values()]
    return list(columns), [list(row) for row in zip(*texts, strict=True)]


def face_csv(face: Face) -> str:
    """Converts a face to CSV text with a header."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names, rows = _values(face)
    writer.writerow(["landmark", *names, "reliable"])
    writer.writerows([index, *row, int(face.reliable)] for index, row in enumerate(rows))
    return stream.getvalue()


class CSVFrames:
    """A `FrameWriter` of one line for each face of each frame.

    Args:
        stream: The text file to write to.
        info: The video.
    """

    def __init__(self, stream: TextIO, info: VideoInfo) -> None:
        self._writer = csv.writer(stream, lineterminator="\n")
        self._num_landmarks = info.num_landmarks
        self._has_header = False

    def _header(self, names: Sequence[str] = ("x", "y", "confidence")) -> None:
        """Writes the header; the first face decides the columns."""
        points = [f"{name[0]}{i}" for i in range(self._num_landmarks) for name in names]
        box = ["box_x0", "box_y0", "box_x1", "box_y1"]
        angles = ["yaw", "pitch", "roll"]
        self._writer.writerow(["frame", "time", "id", "score", "reliable", *box, *angles, *points])
        self._has_header = True

    def write(self, index: int, time: float, size: tuple[int, int], faces: Faces) -> None:
        """Adds a frame."""
        for face in faces:
            names, rows = _values(face)
            if not self._has_header:
                self._header(names)
            pose = face.pose
            angles = ["", "", ""]
            if pose is not None:
                angles = [f"{angle:.2f}" for angle in (pose.yaw, pose.pitch, pose.roll)]
            row = [index, f"{time:.4f}", face.id, f"{face.score:.4f}", int(face.reliable)]
            row += [f"{side:.3f}" for side in face.box]
            self._writer.writerow([*row, *angles, *(value for point in rows for value in point)])

    def finish(self, num_frames: int, complete: bool) -> None:
        """Writes the header if there was no face."""
        if not self._has_header:
            self._header()
