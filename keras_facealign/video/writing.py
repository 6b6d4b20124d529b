"""Writes videos frame by frame."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.atomic import atomic_path
from keras_facealign.video.reading import silent_opencv

CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
"""Extension of a video file, and the codec it is written with."""

# Containers estimate their number of frames, off by up to this many.
_FRAMES_SHORT = 2


class VideoWriter:
    """Writes frames of one size to a video file; created by `video_writer`.

    Args:
        path: The file.
        name: Path of the final file, which decides the codec and appears in error messages.
        frame_rate: Frames per second.
        size: (width, height) in pixels.

    Raises:
        FaceAlignError: If OpenCV lacks the codec.
    """

    def __init__(self, path: Path, name: Path, frame_rate: float, size: tuple[int, int]) -> None:
        self.size = size
        self.num_written = 0
        self.num_resized = 0
        codec = CODECS[name.suffix.lower()]
        code = cv2.VideoWriter.fourcc(*codec)
        with silent_opencv():
            self._writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, frame_rate, size)
        if not self._writer.isOpened():
            self._writer.release()
            raise FaceAlignError(
                f"{name}: this OpenCV cannot write {codec} video of {size[0]}x{size[1]} pixels; "
                "install opencv-python-headless from PyPI, or write .avi, or only landmarks"
            )

    def write(self, image: np.ndarray) -> None:
        """Writes a frame, uint8 (H, W, 3) RGB; frames of another size are fitted, on black."""
        if (image.shape[1], image.shape[0]) != self.size:
            image = _fit(image, self.size)
            self.num_resized += 1
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        self.num_written += 1

    def close(self) -> None:
        """Closes the file."""
        self._writer.release()


@contextmanager
def video_writer(
    path: str | os.PathLike[str], frame_rate: float, size: tuple[int, int]
) -> Iterator[VideoWriter]:
    """Opens a video for writing; the file appears only when the block ends without an error.

    Args:
        path: The file; its extension decides the codec: MPEG-4 for .mp4, .mov and .mkv, Motion JPEG
            for .avi. The video has no sound.
        frame_rate: Frames per second.
        size: (width, height) in pixels.

    Yields:
        A `VideoWriter`.

    Raises:
        FaceAlignError: If the extension is unknown, OpenCV lacks the codec, or the file cannot be
            written.

    Example:
        >>> with video_writer("out.mp4", 25, (640, 480)) as writer:  # doctest: +SKIP
        ...     writer.write(frame)
    """
    path = Path(path)
    if path.suffix.lower() not in CODECS:
        raise FaceAlignError(
            f"{path}: unknown video format {path.suffix!r}; use one of {', '.join(CODECS)}"
        )
    with atomic_path(path) as temporary:
        writer = VideoWriter(temporary, path, frame_rate, size)
        try:
            yield writer
        finally:
            writer.close()
        _check_written(temporary, path, writer.num_written)


def _check_written(temporary: Path, path: Path, expected: int) -> None:
    """Counts the frames in the file, because OpenCV does not report a full disk."""
    with silent_opencv():
        capture = cv2.VideoCapture(str(temporary), cv2.CAP_FFMPEG)
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT) if capture.isOpened() else 0
    capture.release()
    if count < expected - _FRAMES_SHORT:
        raise FaceAlignError(
            f"{path}: only {max(0, int(count))} of {expected} frames could be written; check the "
            "free disk space"
        )


def _fit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scales a frame to fit into another size and centers it on black."""
    scale = min(size[0] / image.shape[1], size[1] / image.shape[0])
    width = max(1, min(size[0], round(image.shape[1] * scale)))
    height = max(1, min(size[1], round(image.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    fitted = cv2.resize(image, (width, height), interpolation=method)
    canvas[top : top + height, left : left + width] = fitted
    return canvas
