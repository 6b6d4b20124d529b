"""Reads the frames of videos, one frame in memory at a time."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_facealign.data.files import find_photos
from keras_facealign.data.images import read_image
from keras_facealign.errors import FaceAlignError
from keras_facealign.video.decoding import VideoDecoder, check_frame_rate

__all__ = ["Frame", "VideoReader"]

# For files without a frame rate, and for folders of images.
_FRAME_RATE = 25.0
# A step back in time by more than this many frames begins a new recording; a smaller one is an
# inaccurate timestamp.
_NEW_CLOCK = 3.0
# Smallest step between two frames, in seconds.
_LEAST_STEP = 1e-3


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a video.

    Args:
        index: Its number, from 0.
        time: Seconds since the first frame.
        image: uint8 (H, W, 3), RGB, upright. Its size may differ from that of other frames.
        name: Name of the frame in error messages.
    """

    index: int
    time: float
    image: np.ndarray
    name: str


class VideoReader:
    """Reads the frames of a video file, or of a folder of images in the order of their names.

    Iterating yields each frame once, turned and mirrored as the file says, with the file's own
    timestamps, which need not be equidistant. A file that ends early or is damaged, or an image
    that cannot be read, is not an error, unless it is the first frame: damaged frames that cannot
    be decoded are left out, and afterwards `num_read`, `cut_off` and `fault` tell what was read.

    Args:
        path: A video file that FFmpeg can read, or a folder of images. Files need PyAV (the extra
            `video`).
        frame_rate: Frames per second, instead of the file's timestamps. Default: the file's, or 25
            if it has none.

    Attributes:
        frame_rate: Frames per second; the mean where they are not equidistant.
        num_frames: Number of frames according to the file, an estimate for some formats, or None.
        num_read: Number of frames read so far.
        fault: After the last frame: what is missing or damaged, in one line, or None.
        pixel_aspect: Width of a displayed pixel over its height, or None for square pixels.
        clock_start: After the first frame: its second by the file's clock; None if times are not
            the file's.

    Raises:
        FaceAlignError: If the file is missing, empty or not a video, its codec is unknown, PyAV is
            not installed, the folder contains no images, or the frames are too large.

    Example:
        >>> with VideoReader("clip.mp4") as reader:  # doctest: +SKIP
        ...     for frame in reader:
        ...         print(frame.time, frame.image.shape)
    """

    def __init__(self, path: str | os.PathLike[str], frame_rate: float | None = None) -> None:
        self.path = Path(path)
        if frame_rate is not None:
            check_frame_rate(path, frame_rate)
        self.num_frames: int | None = None
        self.num_read = 0
        self.fault: str | None = None
        self.pixel_aspect = None
        self._decoder: VideoDecoder | None = None
        self._image_paths: list[Path] = []
        self._left_out: list[str] = []
        # Seconds of the first frame by the file's clock.
        self._origin = math.nan
        self.clock_start: float | None = None
        self._num_moved = 0
        stored_rate = None
        if self.path.is_dir():
            self._image_paths, self._left_out = _list_images(self.path)
            self.num_frames = len(self._image_paths)
        else:
            self._decoder = VideoDecoder(self.path)
            stored_rate = self._decoder.frame_rate
            self.num_frames = self._decoder.num_frames
            self.pixel_aspect = self._decoder.pixel_aspect
        self.frame_rate = frame_rate or stored_rate or _FRAME_RATE
        self._given_rate = frame_rate is not None

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        if self._decoder is not None:
            self._decoder.close()

    @property
    def cut_off(self) -> bool:
        """Whether the end or some frames are missing or damaged; known after the last frame."""
        return self.fault is not None

    @property
    def notes(self) -> list[str]:
        """What else is special about the video, one line each; complete after the last frame."""
        notes = list(self._left_out if self._decoder is None else self._decoder.notes)
        if self._num_moved:
            notes.append(
                f"{self.path}: {self._num_moved} timestamps are not after the one before, so "
                "their frames were moved in time"
            )
        return notes

    def __iter__(self) -> Iterator[Frame]:
        last = math.nan
        images = self._from_folder() if self._decoder is None else self._from_file(self._decoder)
        for seconds, image, name in images:
            last = self._next_time(seconds, last)
            self.num_read += 1
            yield Frame(self.num_read - 1, last, image, name)

    def _next_time(self, seconds: float, last: float) -> float:
        """Time of a frame from the file's clock, after that of the frame before."""
        expected = 0.0 if math.isnan(last) else last + 1.0 / self.frame_rate
        if self._given_rate or not math.isfinite(seconds):
            return self.num_read / self.frame_rate if self._given_rate else expected
        if math.isnan(self._origin):
            self._origin = seconds - expected
            self.clock_start = self._origin
            return expected
        time = seconds - self._origin
        if not time <= last:
            return time
        self._num_moved += 1
        if last - time <= _NEW_CLOCK / self.frame_rate:
            return last + min(_LEAST_STEP, 1.0 / self.frame_rate)
        self._origin = seconds - expected
        return expected

    def _from_folder(self) -> Iterator[tuple[float, np.ndarray, str]]:
        for path in self._image_paths:
            try:
                image = read_image(path)
            except FaceAlignError as error:
                if self.num_read == 0:
                    raise
                self.fault = " ".join(str(error).split())
                return
            yield math.nan, image, str(path)

    def _from_file(self, decoder: VideoDecoder) -> Iterator[tuple[float, np.ndarray, str]]:
        for seconds, image in decoder:
            yield seconds, image, f"{self.path}, frame {self.num_read}"
        self.fault = decoder.fault


def _list_images(folder: Path) -> tuple[list[Path], list[str]]:
    """Lists a folder's images, and in words those that have to be converted first."""
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise FaceAlignError(
            f"{folder}: cannot be opened ({error.strerror}); check its permissions"
        ) from error
    found, skipped = find_photos(folder)
    foreign = [f"{file.path} {file.reason}" for file in skipped if file.is_photo]
    if not found:
        raise FaceAlignError(
            f"{folder}: the folder contains no images; give a video or a folder of its frames"
            + "".join(f"; {line}" for line in foreign[:1])
        )
    return found, foreign
