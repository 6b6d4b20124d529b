"""JSON and JSON Lines: one document for a face, or for the faces of a video."""

from __future__ import annotations

import json
from typing import Any, TextIO

from keras_facealign.errors import FaceAlignError
from keras_facealign.formats.frames import Faces, VideoInfo
from keras_facealign.inference.aligner import Face
from keras_facealign.inference.head_pose import estimate_head_pose
from keras_facealign.landmarks import IBUG68

FORMAT = "keras-facealign video 1"
"""Name of the format; the number increases when a field changes its meaning."""

UNDECODABLE = "backslashreplace"
"""How a stream of JSON encodes names of files that are not UTF-8.

Python keeps their bytes as lone surrogates, which become JSON's escapes `\\udc80` to `\\udcff`.
"""


def dump(record: dict[str, Any]) -> str:
    """Converts a record to one line of JSON; numbers that are not finite raise `ValueError`."""
    return json.dumps(record, allow_nan=False, ensure_ascii=False)


def face_json(
    face: Face, scheme: str, image: str | None, image_size: tuple[int, int] | None
) -> str:
    """Converts a face to a JSON document; see `write_face` for the arguments."""
    about = {"image": image, "image_size": image_size, "scheme": scheme}
    record = {key: value for key, value in about.items() if value is not None} | face.to_dict()
    if scheme == IBUG68.name and len(face.landmarks) == IBUG68.num_landmarks:
        try:
            pose = estimate_head_pose(face.landmarks, image_size, face.confidence)
            record["pose"] = pose.to_dict()
        except FaceAlignError:
            pass  # Landmarks that all have low confidence, or all coincide, have no pose.
    return json.dumps(record, allow_nan=False) + "\n"


class JSONFrames:
    """A `FrameWriter` of one JSON document, with one line for each frame.

    Args:
        stream: The text file to write to.
        info: The video.
        lines: Whether to write JSON Lines instead: one line for the video, one for each frame, and
            one for the end.
    """

    def __init__(self, stream: TextIO, info: VideoInfo, lines: bool = False) -> None:
        self._stream = stream
        self._size = list(info.image_size)
        self._lines = lines
        self._separator = "\n"
        head = {
            "format": FORMAT,
            "video": info.name,
            "frame_rate": round(info.frame_rate, 4),
            "image_size": self._size,
            "scheme": info.scheme,
        }
        stream.write(dump(head) if lines else dump(head)[:-1] + ', "frames": [')

    def write(self, index: int, time: float, size: tuple[int, int], faces: Faces) -> None:
        """Adds a frame."""
        record: dict[str, Any] = {"frame": index, "time": round(time, 4)}
        if list(size) != self._size:
            record["image_size"] = list(size)
        record["faces"] = [face.to_dict() for face in faces]
        self._stream.write(self._separator + dump(record))
        self._separator = "\n" if self._lines else ",\n"

    def finish(self, num_frames: int, complete: bool) -> None:
        """Ends the file."""
        end = dump({"num_frames": num_frames, "complete": complete})
        self._stream.write("\n" + (end if self._lines else "], " + end[1:]) + "\n")
