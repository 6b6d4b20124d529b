"""Landmarks of the frames of a video to JSON, JSON Lines and CSV, a frame at a time.

`docs/formats.md` describes the files. Nothing grows in memory with the video, and a file gets its
name when it is complete (see `writers.replacing`).
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.atomic import replacing
from keras_facealign.video.tracking import TrackedFace

__all__ = ["FRAME_FORMATS", "FrameWriter", "VideoInfo", "frame_writer"]

FORMAT = "keras-facealign video 1"
"""What the JSON formats call themselves; the number rises when a field changes its meaning."""


@dataclass(frozen=True)
class VideoInfo:
    """What the files say of the whole video.

    Args:
        name: Name of the video.
        frame_rate: Frames a second.
        image_size: (width, height) of the first frame in pixels.
        scheme: Name of the landmark scheme.
        num_landmarks: Points of the scheme.
    """

    name: str
    frame_rate: float
    image_size: tuple[int, int]
    scheme: str = "ibug68"
    num_landmarks: int = 68

    def to_dict(self) -> dict[str, Any]:
        """As the JSON formats have it."""
        return {
            "format": FORMAT,
            "video": self.name,
            "frame_rate": round(self.frame_rate, 4),
            "image_size": list(self.image_size),
            "scheme": self.scheme,
        }


class FrameWriter(Protocol):
    """What all formats have."""

    def write(
        self, index: int, time: float, size: tuple[int, int], faces: Sequence[TrackedFace]
    ) -> None:
        """Adds a frame: its number, its seconds, its (width, height) and its faces."""

    def finish(self, num_frames: int, complete: bool) -> None:
        """Ends the file; `complete` is False where the video was cut off."""


class _JSON:
    """One document; the frames are the items of its list, a line each."""

    def __init__(self, stream: TextIO, info: VideoInfo) -> None:
        self._stream = stream
        self._info = info
        self._between = ""
        stream.write(json.dumps(info.to_dict(), ensure_ascii=False)[:-1] + ', "frames": [\n')

    def write(
        self, index: int, time: float, size: tuple[int, int], faces: Sequence[TrackedFace]
    ) -> None:
        record = _frame_record(self._info, index, time, size, faces)
        self._stream.write(self._between + json.dumps(record, allow_nan=False))
        self._between = ",\n"

    def finish(self, num_frames: int, complete: bool) -> None:
        end = json.dumps({"num_frames": num_frames, "complete": complete})
        self._stream.write("\n], " + end[1:] + "\n")


class _JSONLines:
    """A line for the video, a line for each frame, a line for the end."""

    def __init__(self, stream: TextIO, info: VideoInfo) -> None:
        self._stream = stream
        self._info = info
        self._line(info.to_dict())

    def _line(self, record: dict[str, Any]) -> None:
        self._stream.write(json.dumps(record, allow_nan=False, ensure_ascii=False) + "\n")

    def write(
        self, index: int, time: float, size: tuple[int, int], faces: Sequence[TrackedFace]
    ) -> None:
        self._line(_frame_record(self._info, index, time, size, faces))

    def finish(self, num_frames: int, complete: bool) -> None:
        self._line({"num_frames": num_frames, "complete": complete})


class _CSV:
    """A line for each face of each frame."""

    def __init__(self, stream: TextIO, info: VideoInfo) -> None:
        self._writer = csv.writer(stream, lineterminator="\n")
        self._num_landmarks = info.num_landmarks
        self._has_header = False

    def _header(self, face: TrackedFace | None) -> None:
        """The first face tells which columns there are."""
        fields = ["x", "y", "c"]
        if face is not None:
            fields += ["s"] * (face.sigma is not None) + ["v"] * (face.visibility is not None)
        points = [f"{field}{i}" for i in range(self._num_landmarks) for field in fields]
        box = ["box_x0", "box_y0", "box_x1", "box_y1"]
        columns = ["frame", "time", "id", "score", *box, "yaw", "pitch", "roll", *points]
        self._writer.writerow(columns)
        self._has_header = True

    def write(
        self, index: int, time: float, size: tuple[int, int], faces: Sequence[TrackedFace]
    ) -> None:
        for face in faces:
            if not self._has_header:
                self._header(face)
            pose = face.pose
            angles = ("", "", "") if pose is None else (pose.yaw, pose.pitch, pose.roll)
            row: list[Any] = [index, f"{time:.4f}", face.id, f"{face.score:.4f}"]
            row += [f"{side:.3f}" for side in face.box]
            row += [angle if angle == "" else f"{angle:.2f}" for angle in angles]
            for i, (x, y) in enumerate(face.landmarks):
                row += [f"{x:.3f}", f"{y:.3f}", f"{face.confidence[i]:.4f}"]
                row += [] if face.sigma is None else [f"{face.sigma[i]:.3f}"]
                row += [] if face.visibility is None else [f"{face.visibility[i]:.4f}"]
            self._writer.writerow(row)

    def finish(self, num_frames: int, complete: bool) -> None:
        """A table has no end of its own, but a header also where no face was seen."""
        if not self._has_header:
            self._header(None)


FRAME_FORMATS: dict[str, Any] = {".json": _JSON, ".jsonl": _JSONLines, ".csv": _CSV}
"""Ending of a file, and the writer of its format."""


def _frame_record(
    info: VideoInfo,
    index: int,
    time: float,
    size: tuple[int, int],
    faces: Sequence[TrackedFace],
) -> dict[str, Any]:
    record: dict[str, Any] = {"frame": index, "time": round(time, 4)}
    if tuple(size) != tuple(info.image_size):
        record["image_size"] = list(size)
    record["faces"] = [face.to_dict() for face in faces]
    return record


@contextmanager
def frame_writer(path: str | os.PathLike[str], info: VideoInfo) -> Iterator[FrameWriter]:
    """Writes a file under a temporary name, and gives it its own when the block ends well.

    Args:
        path: The file: .json, .jsonl or .csv; an older one is replaced.
        info: What the file says of the whole video.

    Yields:
        A `FrameWriter`; call its `finish` after the last frame.

    Raises:
        FaceAlignError: If the ending is none of these or the file cannot be written.

    Example:
        >>> info = VideoInfo("clip.mp4", 25.0, (640, 480))
        >>> with frame_writer("clip.jsonl", info) as writer:  # doctest: +SKIP
        ...     writer.write(0, 0.0, (640, 480), faces)
        ...     writer.finish(num_frames=1, complete=True)
    """
    path = Path(path)
    if path.suffix.lower() not in FRAME_FORMATS:
        raise FaceAlignError(
            f"{path}: no format is known for the ending {path.suffix!r}; use .json, .jsonl or .csv"
        )
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        yield FRAME_FORMATS[path.suffix.lower()](stream, info)
