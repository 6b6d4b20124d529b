"""Reads the frames of videos, one frame in memory at a time."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from keras_facealign.data.images import IMAGE_SUFFIXES, MAX_PIXELS, read_image
from keras_facealign.errors import FaceAlignError

# For files without a frame rate, and for folders of images.
_FRAME_RATE = 25.0
_FASTEST = 1000.0
# Containers estimate their number of frames; only a video that lacks more is truncated.
_FRAMES_SHORT = 2
_SHARE_SHORT = 0.02


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a video.

    Args:
        index: Its number, from 0.
        time: Seconds since the first frame.
        image: uint8 (H, W, 3), RGB, upright.
        name: Name of the frame in error messages.
    """

    index: int
    time: float
    image: np.ndarray
    name: str


class VideoReader:
    """Reads the frames of a video file, or of a folder of images in the order of their names.

    Iterating yields each frame once. A video that ends early, or an image that cannot be read, ends
    the iteration without an error, unless it is the first frame. Afterwards `num_read`, `cut_off`
    and `fault` tell what was read.

    Args:
        path: A video file that OpenCV's FFmpeg can read, or a folder of images.
        frame_rate: Frames per second. Default: the file's, or 25 if it has none.

    Attributes:
        num_frames: Number of frames according to the file, or None.
        num_read: Number of frames read so far.
        fault: Why the image at which reading ended early could not be read, or None.

    Raises:
        FaceAlignError: If the file is missing, empty or not a video, the folder contains no images,
            or the frames are too large.

    Example:
        >>> with VideoReader("clip.mp4") as reader:  # doctest: +SKIP
        ...     for frame in reader:
        ...         print(frame.time, frame.image.shape)
    """

    def __init__(self, path: str | os.PathLike[str], frame_rate: float | None = None) -> None:
        self.path = Path(path)
        if frame_rate is not None and not 0 < frame_rate <= _FASTEST:
            raise FaceAlignError(
                f"{path}: frame_rate is {frame_rate}; give more than 0, up to {_FASTEST:g}"
            )
        self.num_frames: int | None = None
        self.num_read = 0
        self.fault: str | None = None
        self._capture: Any = None
        self._image_paths: list[Path] = []
        stored_rate = math.nan
        if self.path.is_dir():
            self._image_paths = _list_images(self.path)
            self.num_frames = len(self._image_paths)
        else:
            self._capture = _open(self.path)
            stored_rate = self._capture.get(cv2.CAP_PROP_FPS)
            count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
            self.num_frames = int(count) if 0 < count < 1e9 else None
        # Some files store the ticks of their clock instead of a frame rate.
        usable = 0 < stored_rate <= _FASTEST
        self.frame_rate = frame_rate or (float(stored_rate) if usable else _FRAME_RATE)
        self._given_rate = frame_rate is not None

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        if self._capture is not None:
            self._capture.release()

    @property
    def cut_off(self) -> bool:
        """Whether reading ended at a fault, or before the number of frames stored in the file."""
        if self.fault is not None or self.num_frames is None:
            return self.fault is not None
        missing = self.num_frames - self.num_read
        return missing > max(_FRAMES_SHORT, _SHARE_SHORT * self.num_frames)

    def __iter__(self) -> Iterator[Frame]:
        last = -math.inf
        images = self._from_file() if self._capture is not None else self._from_folder()
        for seconds, image, name in images:
            time = 0.0 if self.num_read == 0 else last + 1.0 / self.frame_rate
            # The file's own timestamps take precedence where they increase.
            if seconds > last and not self._given_rate:
                time = seconds
            last = time
            self.num_read += 1
            yield Frame(self.num_read - 1, time, image, name)

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

    def _from_file(self) -> Iterator[tuple[float, np.ndarray, str]]:
        while True:
            success, image = self._capture.read()
            if not success or image is None:
                return
            seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            code = cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB
            valid = math.isfinite(seconds) and seconds >= 0
            name = f"{self.path}, frame {self.num_read}"
            yield seconds if valid else math.nan, cv2.cvtColor(image, code), name


def _list_images(folder: Path) -> list[Path]:
    with _naming(folder):
        names = sorted(folder.iterdir())
    found = [p for p in names if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    if not found:
        raise FaceAlignError(
            f"{folder}: the folder contains no images; give a video or a folder of its frames"
        )
    return found


def _open(path: Path) -> Any:
    """Opens a video and checks its size before any frame is decoded."""
    if not path.exists():
        raise FaceAlignError(f"{path}: there is no such file or folder; check the path")
    with _naming(path), path.open("rb") as file:
        if not file.read(1):
            raise FaceAlignError(f"{path}: the file is empty; replace it")
    # OpenCV's other backends would take digits in the name for a numbered series.
    with silent_opencv():
        capture = cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        capture.release()
        raise FaceAlignError(
            f"{path}: cannot be read as a video; it is not a video, has an unsupported format, or "
            "is truncated before its index"
        )
    width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
    height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    if width * height > MAX_PIXELS:
        capture.release()
        raise FaceAlignError(
            f"{path}: its frames are {width}x{height} = {width * height} pixels, over the limit "
            f"of {MAX_PIXELS}; reduce the video"
        )
    return capture


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FaceAlignError(
            f"{path}: cannot be opened ({error.strerror}); check its permissions"
        ) from error


@contextmanager
def silent_opencv() -> Iterator[None]:
    """Suppresses the log messages of OpenCV and FFmpeg; the errors raised here name the file."""
    # FFmpeg reads its level when the first video is opened.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    logging: Any = cv2.utils.logging
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)
