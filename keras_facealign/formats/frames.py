"""The interface of writers for the frames of a video, and the description of the video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from keras_facealign.video.tracking import TrackedFace

Faces = Sequence[TrackedFace]
"""The faces of a frame."""


@dataclass(frozen=True)
class VideoInfo:
    """Description of a video in its files of landmarks.

    Args:
        name: Name of the video.
        frame_rate: Frames per second.
        image_size: (width, height) of the first frame in pixels.
        scheme: Name of the landmark scheme.
        num_landmarks: Points of the scheme.

    Example:
        >>> VideoInfo("clip.mp4", 25.0, (640, 480)).scheme
        'ibug68'
    """

    name: str
    frame_rate: float
    image_size: tuple[int, int]
    scheme: str = "ibug68"
    num_landmarks: int = 68


class FrameWriter(Protocol):
    """Writes the faces of a video, one frame at a time."""

    def write(self, index: int, time: float, size: tuple[int, int], faces: Faces) -> None:
        """Adds a frame: its number, its time in seconds, its (width, height) and its faces."""

    def finish(self, num_frames: int, complete: bool) -> None:
        """Ends the file; `complete` is False if the video was cut off."""
