"""Frames of videos in, and videos with landmarks drawn out, one frame in memory at a time."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from keras_facealign.data.images import IMAGE_SUFFIXES, MAX_PIXELS, read_image
from keras_facealign.errors import FaceAlignError
from keras_facealign.inference.drawing import draw_faces
from keras_facealign.landmarks import IBUG68, LandmarkScheme
from keras_facealign.storage.atomic import replacing
from keras_facealign.video.tracking import TrackedFace

__all__ = ["Frame", "VideoReader", "VideoWriter", "draw_tracked", "video_writer"]

CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
"""Ending of a video file, and the codec that it is written with."""

# Assumed where a file does not tell, and for folders of pictures.
_FRAME_RATE = 25.0
_FASTEST = 1000.0
# Containers estimate their number of frames; a video shorter than told by more is cut off.
_FRAMES_SHORT = 2
_SHARE_SHORT = 0.02


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a video.

    Args:
        index: Its number, from 0.
        time: Seconds since the first frame.
        image: uint8 (H, W, 3), RGB, upright.
        name: What error messages call it.
    """

    index: int
    time: float
    image: np.ndarray
    name: str


class VideoReader:
    """The frames of a video file, or of a folder of pictures in the order of their names.

    Iterating gives each frame once. After the last, `num_read`, `cut_off` and `fault` tell what was
    there: a video that ends early, or a picture that cannot be read, ends the frames without an
    error, unless it is the first.

    Args:
        path: A video file of a kind that OpenCV's FFmpeg reads, or a folder of pictures.
        frame_rate: Frames a second. Default: the file's, or 25 where it tells none.

    Raises:
        FaceAlignError: If the file is missing, empty or no video, the folder holds no pictures, or
            the frames are too large.

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
        """Frames that there should be, if the file tells."""
        self.num_read = 0
        self.fault: str | None = None
        """What is wrong with the picture of a folder at which reading ended before its time."""
        self._capture: Any = None
        self._pictures: list[Path] = []
        told = math.nan
        if self.path.is_dir():
            self._pictures = _pictures(self.path)
            self.num_frames = len(self._pictures)
        else:
            self._capture = _open(self.path)
            told = self._capture.get(cv2.CAP_PROP_FPS)
            count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
            self.num_frames = int(count) if 0 < count < 1e9 else None
        # Some files tell the ticks of their clock instead of a frame rate.
        self.frame_rate = frame_rate or (float(told) if 0 < told <= _FASTEST else _FRAME_RATE)
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
        """Whether reading ended at a fault, or before the frames that the file says it has."""
        if self.fault is not None:
            return True
        if self.num_frames is None:
            return False
        missing = self.num_frames - self.num_read
        return missing > max(_FRAMES_SHORT, _SHARE_SHORT * self.num_frames)

    def __iter__(self) -> Iterator[Frame]:
        last = -math.inf
        images = self._from_file() if self._capture is not None else self._from_folder()
        for seconds, image, name in images:
            step = 1.0 / self.frame_rate
            time = 0.0 if self.num_read == 0 else last + step
            # The file's own clock, where it has one that runs.
            if seconds is not None and seconds > last and not self._given_rate:
                time = seconds
            last = time
            frame = Frame(self.num_read, time, image, name)
            self.num_read += 1
            yield frame

    def _from_folder(self) -> Iterator[tuple[float | None, np.ndarray, str]]:
        for path in self._pictures:
            try:
                image = read_image(path)
            except FaceAlignError as error:
                if self.num_read == 0:
                    raise
                self.fault = " ".join(str(error).split())
                return
            yield None, image, str(path)

    def _from_file(self) -> Iterator[tuple[float | None, np.ndarray, str]]:
        for index in range(1 << 62):
            got, image = self._capture.read()
            if not got or image is None:
                return
            seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if image.ndim == 2:
                image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
            else:
                image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            yield (
                seconds if math.isfinite(seconds) and seconds >= 0 else None,
                image,
                f"{self.path}, frame {index}",
            )


def _pictures(folder: Path) -> list[Path]:
    try:
        names = sorted(folder.iterdir())
    except OSError as error:
        raise FaceAlignError(
            f"{folder}: cannot be opened ({error.strerror}); check its permissions"
        ) from error
    found = [p for p in names if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    if not found:
        raise FaceAlignError(f"{folder}: the folder holds no pictures; give a video or its frames")
    return found


def _open(path: Path) -> Any:
    """The opened video, its size checked before any frame is decoded."""
    try:
        if not path.exists():
            raise FaceAlignError(f"{path}: there is no such file or folder; check the path")
        if path.stat().st_size == 0:
            raise FaceAlignError(f"{path}: the file is empty; replace it")
        with path.open("rb"):
            pass
    except OSError as error:
        raise FaceAlignError(
            f"{path}: cannot be opened ({error.strerror}); check its permissions"
        ) from error
    # Other readers of OpenCV would take the digits of a name for those of a numbered series.
    with _silence():
        capture = cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        capture.release()
        raise FaceAlignError(
            f"{path}: cannot be read as a video; it is no video, of a kind that OpenCV does not "
            "know, or cut off before its index was written"
        )
    width, height = (int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, _HEIGHT))
    if width * height > MAX_PIXELS:
        capture.release()
        raise FaceAlignError(
            f"{path}: its frames are {width}x{height} = {width * height} pixels, over the limit "
            f"of {MAX_PIXELS}; make it smaller"
        )
    return capture


_HEIGHT = cv2.CAP_PROP_FRAME_HEIGHT


@contextmanager
def _silence() -> Iterator[None]:
    """Keeps OpenCV's and FFmpeg's complaints about a file off the terminal; ours name the file."""
    # FFmpeg's level is read when the first video is opened.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    logging: Any = cv2.utils.logging
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)


class VideoWriter:
    """Writes frames of one size to a video file; `video_writer` makes it.

    Args:
        path: The file.
        shown: What error messages call it.
        frame_rate: Frames a second.
        size: (width, height) in pixels.
    """

    def __init__(self, path: Path, shown: Path, frame_rate: float, size: tuple[int, int]) -> None:
        self.size = size
        self.num_written = 0
        self.num_resized = 0
        self._shown = shown
        codec = CODECS[shown.suffix.lower()]
        code = cv2.VideoWriter.fourcc(*codec)
        with _silence():
            self._writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, frame_rate, size)
        if not self._writer.isOpened():
            self._writer.release()
            raise FaceAlignError(
                f"{shown}: OpenCV here cannot write {codec} video of {size[0]}x{size[1]} pixels; "
                "install opencv-python-headless from PyPI, or write .avi, or only landmarks"
            )

    def write(self, image: np.ndarray) -> None:
        """Writes a frame, uint8 (H, W, 3) RGB; one of another size is fitted in, on black."""
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
    """Writes a video under a temporary name, and gives it its own when the block ends well.

    Args:
        path: The file; its ending chooses the codec: MPEG-4 for .mp4, .mov and .mkv, Motion JPEG
            for .avi. There is no sound.
        frame_rate: Frames a second.
        size: (width, height) in pixels.

    Yields:
        A `VideoWriter`.

    Raises:
        FaceAlignError: If the ending is unknown, OpenCV lacks the codec, or the file cannot be
            written.

    Example:
        >>> with video_writer("out.mp4", 25, (640, 480)) as writer:  # doctest: +SKIP
        ...     writer.write(frame)
    """
    path = Path(path)
    if path.suffix.lower() not in CODECS:
        raise FaceAlignError(
            f"{path}: no video format is known for the ending {path.suffix!r}; use "
            + ", ".join(CODECS)
        )
    with replacing(path) as temporary:
        writer = VideoWriter(temporary, path, frame_rate, size)
        try:
            yield writer
        finally:
            writer.close()
        _check_written(temporary, path, writer.num_written)


def _check_written(temporary: Path, path: Path, expected: int) -> None:
    """OpenCV does not tell of a full disk: the file has to be asked."""
    with _silence():
        capture = cv2.VideoCapture(str(temporary), cv2.CAP_FFMPEG)
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT) if capture.isOpened() else 0
    capture.release()
    if count < expected - _FRAMES_SHORT:
        raise FaceAlignError(
            f"{path}: only {max(0, int(count))} of {expected} frames could be written; check the "
            "space on the disk"
        )


def _fit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scales a frame into another size, in the middle of black."""
    scale = min(size[0] / image.shape[1], size[1] / image.shape[0])
    width = max(1, min(size[0], round(image.shape[1] * scale)))
    height = max(1, min(size[1], round(image.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    canvas[top : top + height, left : left + width] = cv2.resize(
        image, (width, height), interpolation=method
    )
    return canvas


def draw_tracked(
    image: np.ndarray, faces: Sequence[TrackedFace], scheme: LandmarkScheme = IBUG68
) -> np.ndarray:
    """Draws the landmarks of a frame's faces, and each face's number above it.

    Args:
        image: uint8 (H, W, 3), RGB.
        faces: The frame's faces.
        scheme: What the landmarks are.

    Returns:
        uint8 (H, W, 3), RGB: a new picture.
    """
    picture = draw_faces(image, faces, scheme)
    for face in faces:
        low, high = face.landmarks.min(axis=0), face.landmarks.max(axis=0)
        extent = float((high - low).max())
        scale, width = max(0.4, extent / 250), max(1, round(extent / 120))
        limits = np.array([image.shape[1] - 1, image.shape[0] - 1])
        x, y = np.clip(np.array([low[0], low[1] - 0.06 * extent]), 0, limits).astype(int)
        for color, thickness in (((20, 20, 20), 2 * width + 1), ((235, 235, 235), width)):
            cv2.putText(
                picture,
                str(face.id),
                (int(x), int(y)),
                cv2.FONT_HERSHEY_SIMPLEX,
                scale,
                color,
                thickness,
                cv2.LINE_AA,
            )
    return picture
