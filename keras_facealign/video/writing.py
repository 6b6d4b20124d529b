"""Writes videos frame by frame."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign._opencv import cv2
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.atomic import atomic_path
from keras_facealign.video.decoding import check_frame_rate, import_av
from keras_facealign.video.sound import Sound

__all__ = ["CODECS", "VideoWriter", "video_writer"]

CODECS = {".mp4": "h264", ".mov": "h264", ".mkv": "h264", ".avi": "mjpeg"}
"""Extension of a video file, and the codec it is written with."""

# Encoders in order of preference: builds of FFmpeg that are free of the GPL have no libx264.
_ENCODERS = {"h264": ("libx264", "mpeg4"), "mjpeg": ("mjpeg",)}
_FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".avi": "avi"}
# The fastest preset, at a quality without visible loss. Without B-frames, no frame waits for
# later ones, and players that go by the order of decoding get the durations right.
_OPTIONS = {
    "libx264": {"preset": "ultrafast", "crf": "21", "bf": "0"},
    "mpeg4": {"qmin": "2", "qmax": "4"},
    "mjpeg": {"qmin": "2", "qmax": "3"},
}
_LONGEST = 1e7  # seconds; ticks beyond overflow in some formats
_TICKS = 60_000  # of the clock of timestamps, a second; MPEG-4 has at most 65535
_BT601 = 6  # what cv2.cvtColor converts by
_LIMITED, _FULL = 1, 2


class _File:
    """A file for FFmpeg to write to, which keeps its first error.

    PyAV prints errors that a file raises while FFmpeg is at work on another one.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._error: OSError | None = None

    def _attempt(self, act: Callable[[], int | None], otherwise: int) -> int:
        if self._error is None:
            try:
                return act() or 0
            except OSError as error:
                self._error = error
        return otherwise

    def write(self, data: bytes) -> int:
        return self._attempt(lambda: self._file.write(data), len(data))

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._attempt(lambda: self._file.seek(offset, whence), offset)

    def tell(self) -> int:
        return self._attempt(self._file.tell, 0)

    def close(self) -> None:
        self._attempt(self._file.flush, 0)
        with suppress(OSError):
            self._file.close()

    def check(self) -> None:
        """Raises the first error, if there was one."""
        if self._error is not None:
            raise self._error


class VideoWriter:
    """Writes frames to a video file of one size; created by `video_writer`.

    Each frame is encoded by a thread while the caller prepares the next one, so its error is raised
    by the next call.

    Args:
        path: The file.
        name: Path of the final file, which decides the codec and appears in error messages.
        frame_rate: Frames per second.
        size: (width, height) in pixels.
        pixel_aspect: Width of a displayed pixel over its height; None for square pixels.
        sound: Sound to copy; its `note` tells if that is not possible.

    Attributes:
        num_written: Number of frames written so far.
        num_resized: Number of them that had another size.
        largest_shift: Largest difference between a frame's time and the one it was written with,
            in seconds. It matters only for .avi, which has a constant frame rate.

    Raises:
        FaceAlignError: If PyAV is not installed or cannot write such a video.
    """

    def __init__(
        self,
        path: Path,
        name: Path,
        frame_rate: float,
        size: tuple[int, int],
        pixel_aspect: Fraction | None = None,
        sound: Sound | None = None,
    ) -> None:
        av = import_av()
        self._av, self._name = av, name
        self.size, self.frame_rate = size, frame_rate
        self.num_written = self.num_resized = 0
        self.largest_shift = 0.0
        self._last_tick, self._end = -1, Fraction(0)
        suffix = name.suffix.lower()
        rate = Fraction(frame_rate).limit_denominator(65535)
        self._tick = 1 / rate if suffix == ".avi" else Fraction(1, _TICKS)
        self._reformatter = av.video.reformatter.VideoReformatter()
        self._thread = ThreadPoolExecutor(1, "VideoWriter")
        self._encoding: Future[None] | None = None
        self._path, self._sound_stream, self._sound = path, None, None
        if sound is not None and sound.fits(suffix, name):
            try:
                self._open(suffix, rate, pixel_aspect, sound)
                return
            except FaceAlignError:
                sound.leave_out(name)
        self._open(suffix, rate, pixel_aspect, None)

    def _open(
        self, suffix: str, rate: Fraction, pixel_aspect: Fraction | None, sound: Sound | None
    ) -> None:
        """Opens the file, and writes its header."""
        self._file, self._sound = _File(self._path), sound
        try:
            self._container = self._av.open(self._file, "w", format=_FORMATS[suffix])
            self._stream = self._add_stream(_encoder(CODECS[suffix]), rate, pixel_aspect)
            if sound is not None:
                self._sound_stream = self._container.add_stream_from_template(sound.stream)
            self._container.start_encoding()
        except (self._av.FFmpegError, ValueError) as error:
            self._file.close()
            raise FaceAlignError(
                f"{self._name}: this PyAV cannot write a video of {self.size[0]}x{self.size[1]} "
                f"pixels ({error}); write .avi, or only landmarks"
            ) from error

    def _add_stream(self, encoder: str, rate: Fraction, pixel_aspect: Fraction | None) -> Any:
        stream = self._container.add_stream(encoder, rate=rate, options=_OPTIONS[encoder])
        stream.width, stream.height = self.size
        odd = any(side % 2 for side in self.size)
        # H.264 stores odd sizes only with colors at full resolution.
        formats = {"mjpeg": "yuvj420p", "libx264": "yuv444p" if odd else "yuv420p"}
        stream.pix_fmt = self._format = formats.get(encoder, "yuv420p")
        context = stream.codec_context
        context.time_base = self._tick
        context.colorspace = _BT601
        context.color_range = _FULL if encoder == "mjpeg" else _LIMITED
        if pixel_aspect is not None:
            context.sample_aspect_ratio = pixel_aspect
        return stream

    def write(self, image: np.ndarray, time: float | None = None) -> None:
        """Writes a frame.

        Args:
            image: uint8 (H, W, 3) RGB; frames of another size are fitted, on black.
            time: Seconds since the first frame; must increase. Default: one frame of the frame
                rate after another.

        Raises:
            FaceAlignError: If FFmpeg refuses the frame, or no video has a frame at that time.
            OSError: If the file cannot be written, for example because the disk is full.
        """
        seconds = self.num_written / self.frame_rate if time is None else time
        if not 0 <= seconds <= _LONGEST:
            raise FaceAlignError(
                f"{self._name}: frame {self.num_written} is at {seconds} seconds; give 0 to "
                f"{_LONGEST:g}"
            )
        if (image.shape[1], image.shape[0]) != self.size:
            image = _fit(image, self.size)
            self.num_resized += 1
        tick = max(round(seconds / self._tick), self._last_tick + 1)
        self.largest_shift = max(self.largest_shift, abs(float(tick * self._tick) - seconds))
        frame = self._convert(image)
        self._wait()
        frame.pts, frame.time_base = tick, self._tick
        # Of the last frame, whose end no other frame gives.
        frame.duration = max(1, round(1 / (self.frame_rate * self._tick)))
        self._end = (tick + frame.duration) * self._tick
        self._last_tick = tick
        self._encoding = self._thread.submit(self._encode, frame, self.num_written)
        self.num_written += 1

    def _wait(self) -> None:
        """Waits for the frame before, and raises its error."""
        encoding, self._encoding = self._encoding, None
        if encoding is not None:
            encoding.result()

    def _convert(self, image: np.ndarray) -> Any:
        """Converts an RGB image to a frame of the encoder's pixel format."""
        make = self._av.VideoFrame.from_ndarray
        if self._format == "yuv420p" and not any(side % 2 for side in self.size):
            # Several times faster than FFmpeg's conversion.
            return make(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420), format="yuv420p")
        frame = make(np.ascontiguousarray(image), format="rgb24")
        return self._reformatter.reformat(frame, format=self._format)

    def _encode(self, frame: Any, number: int) -> None:
        try:
            # Up to this frame or, at the end, to that of the last one.
            self._copy_sound(self._end if frame is None else frame.pts * self._tick)
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
            self._file.check()
        except (self._av.FFmpegError, ValueError) as error:
            raise FaceAlignError(
                f"{self._name}: frame {number} cannot be encoded ({error}); write .avi, "
                "or only landmarks"
            ) from error

    def _copy_sound(self, seconds: Fraction) -> None:
        if self._sound is None:
            return
        try:
            for packet in self._sound.until(float(seconds)):
                packet.stream = self._sound_stream
                self._container.mux(packet)
        except (self._av.FFmpegError, ValueError):
            self._sound.cut_off()
            self._sound = None

    def close(self) -> None:
        """Ends the video and closes the file."""
        try:
            self._wait()
            self._encode(None, self.num_written)
        finally:
            self._thread.shutdown()
            self._container.close()
            self._file.close()
        self._file.check()


@contextmanager
def video_writer(
    path: str | os.PathLike[str],
    frame_rate: float,
    size: tuple[int, int],
    pixel_aspect: Fraction | None = None,
    sound: Sound | None = None,
) -> Iterator[VideoWriter]:
    """Opens a video for writing; the file appears only when the block ends without an error.

    Args:
        path: The file; its extension decides the codec: H.264 for .mp4, .mov and .mkv (MPEG-4 if
            this FFmpeg has no encoder for it), Motion JPEG for .avi.
        frame_rate: Frames per second.
        size: (width, height) in pixels.
        pixel_aspect: Width of a displayed pixel over its height; None for square pixels.
        sound: Sound to copy, closed by the caller; `Sound.note` tells afterwards if that was not
            possible. Default: none.

    Yields:
        A `VideoWriter`.

    Raises:
        FaceAlignError: If no video has such an extension or frame rate, PyAV is not installed or
            cannot write such a video, or the file cannot be written.

    Example:
        >>> with video_writer("out.mp4", 25, (640, 480)) as writer:  # doctest: +SKIP
        ...     writer.write(frame)
    """
    path = Path(path)
    if path.suffix.lower() not in CODECS:
        raise FaceAlignError(
            f"{path}: unknown video format {path.suffix!r}; use one of {', '.join(CODECS)}"
        )
    check_frame_rate(path, frame_rate)
    with atomic_path(path) as temporary:
        writer = VideoWriter(temporary, path, frame_rate, size, pixel_aspect, sound)
        try:
            yield writer
        except BaseException:
            with suppress(Exception):
                writer.close()
            raise
        writer.close()


def _encoder(codec: str) -> str:
    available = import_av().codecs_available
    names = [name for name in _ENCODERS[codec] if name in available]
    if not names:
        raise ValueError(f"it has no encoder for {codec}")
    return names[0]


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
