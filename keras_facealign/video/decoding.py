"""Decodes video files with PyAV, the bindings of FFmpeg's libraries."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_facealign._opencv import cv2
from keras_facealign.data.images import MAX_PIXELS, read_image
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.reading import open_regular

__all__ = ["VideoDecoder", "check_frame_rate", "import_av", "open_container", "upright"]

_SLOWEST, _FASTEST = 1e-3, 1000.0
# More threads gain nothing beside a network, and each holds a frame.
_MAX_THREADS = 4
# Frames may have other sizes than the file says: up to 4K, or times the pixels that it says.
_USUAL_PIXELS, _TIMES_STATED = 4096 * 2304, 4
# Formats that store how long they are. FFmpeg estimates it for others, from what the file holds.
_STORES_DURATION = ("mov", "matroska", "avi", "flv", "asf")
_CONVERT = "convert it with another program, for example to H.264 (.mp4)"
_INTERLACED = (
    "is interlaced, every second line shows another moment, so that landmarks of what moves lie "
    "between the two; for better ones, deinterlace it first, for example with ffmpeg -vf bwdif"
)
# Transfer functions of HDR, PQ and HLG, and the color primaries and transfer function of SDR.
_HDR, _BT709, _UNSPECIFIED = (16, 18), 1, 2


def import_av() -> Any:
    """Imports PyAV.

    Returns:
        The module `av`.

    Raises:
        FaceAlignError: If it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise FaceAlignError(
            "video files are read and written with PyAV, which is not installed; run: "
            'pip install "keras_facealign[video]", or use folders of images'
        ) from error
    return av


def open_container(file: Any) -> Any:
    """Opens a video file for reading, from a file object and not by its name.

    Of a file object, FFmpeg opens neither digits as a numbered series nor a URL.

    Args:
        file: The file, open for reading in binary.

    Returns:
        PyAV's container.
    """
    return import_av().open(file, metadata_errors="replace", options={"protocol_whitelist": "none"})


def check_frame_rate(name: str | os.PathLike[str], frame_rate: float) -> None:
    """Raises `FaceAlignError` if no video has so many frames a second; `name` is the video's."""
    if not _SLOWEST <= frame_rate <= _FASTEST:
        raise FaceAlignError(
            f"{name}: frame_rate is {frame_rate}; give {_SLOWEST:g} to {_FASTEST:g}"
        )


class VideoDecoder:
    """Decodes the frames of a video file, upright and in RGB.

    Of several video streams the one marked as default is read, or else the one with the most
    pixels; cover pictures are no video. Display matrices are applied, transparency is blended with
    white, and the colors of HDR are mapped to those of ordinary video.

    Args:
        path: The file.

    Attributes:
        frame_rate: Mean number of frames per second, or None.
        num_frames: Number of frames according to the file, or an estimate, or None.
        pixel_aspect: Width of a displayed pixel over its height, or None.
        fault: After the last frame: what is damaged or missing, or None.
        notes: What a user should know about the file, one line each.

    Raises:
        FaceAlignError: If the file is missing, empty or not a video, its codec is unknown, or its
            frames are too large.
    """

    def __init__(self, path: Path) -> None:
        av = import_av()
        self.path = path
        self.notes: list[str] = []
        self.fault: str | None = None
        self._errors = (av.FFmpegError, OSError, ValueError)
        self._reformatter = av.video.reformatter.VideoReformatter()
        self._matrices: dict[tuple[int, int, int], np.ndarray | None] = {}
        self._file = _open_file(path)
        self._container: Any = None
        try:
            self._container = open_container(self._file)
            self._stream = self._choose_stream()
        except self._errors as error:
            self.close()
            if isinstance(error, FaceAlignError):
                raise
            raise FaceAlignError(
                f"{path}: cannot be read as a video; it is not a video, has an unsupported format, "
                "or is truncated before its index"
            ) from error
        self._read_header()

    def _choose_stream(self) -> Any:
        """Chooses the video stream, and checks its size before any frame is decoded."""
        streams = list(self._container.streams)
        videos = [s for s in streams if s.type == "video" and not s.disposition & _attached()]
        if not videos:
            kinds = {s.type for s in streams if s.type in ("audio", "subtitle")}
            if any(s.type == "video" for s in streams):
                kinds.add("a cover picture")
            only = f", only {' and '.join(sorted(kinds))}" if kinds else ""
            raise FaceAlignError(f"{self.path}: contains no video{only}; give a video")
        known = [s for s in videos if s.codec_context is not None]
        if not known:
            raise FaceAlignError(
                f"{self.path}: its codec {_codec_name(self._container)} cannot be decoded by this "
                f"PyAV; {_CONVERT}"
            )
        stream = max(
            known, key=lambda s: (bool(s.disposition & 1), s.width * s.height, -int(s.index))
        )
        if len(videos) > 1:
            self.notes.append(
                f"{self.path}: has {len(videos)} video streams; stream {stream.index}, "
                f"{stream.width}x{stream.height} pixels, is read"
            )
        self._check_size(stream.width, stream.height)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = min(_MAX_THREADS, os.cpu_count() or 1)
        # The sizes that damaged frames claim may take hundreds of megabytes to decode.
        most = max(_USUAL_PIXELS, _TIMES_STATED * stream.width * stream.height)
        stream.codec_context.options = {"max_pixels": str(min(most, MAX_PIXELS))}
        return stream

    def _check_size(self, width: int, height: int) -> None:
        if width * height > MAX_PIXELS:
            raise FaceAlignError(
                f"{self.path}: its frames are {width}x{height} = {width * height} pixels, over the "
                f"limit of {MAX_PIXELS}; reduce the video"
            )

    def _read_header(self) -> None:
        stream = self._stream
        rates = [float(r) for r in (stream.average_rate, stream.guessed_rate) if r]
        # Some files store the ticks of their clock instead of a frame rate.
        self.frame_rate = next((r for r in rates if 0 < r <= _FASTEST), None)
        self._rate = self.frame_rate or 25.0
        self._duration = self._stored_duration()
        self.num_frames: int | None = stream.frames or None
        if self.num_frames is None and self._duration is not None:
            self.num_frames = round(self._duration * self._rate)
        aspect = stream.codec_context.sample_aspect_ratio
        self.pixel_aspect = aspect if aspect and aspect != 1 else None

    def _stored_duration(self) -> float | None:
        """Seconds that the file says it is long, from its beginning."""
        stream, name = self._stream, self._container.format.name
        if not name.startswith(_STORES_DURATION):
            return None
        if name == "avi" and stream.frames:
            return stream.frames / self._rate
        if stream.duration:
            return float((stream.duration + (stream.start_time or 0)) * stream.time_base)
        return self._container.duration / 1e6 if self._container.duration else None

    def close(self) -> None:
        """Closes the file."""
        if self._container is not None:
            self._container.close()
        self._file.close()

    def __iter__(self) -> Iterator[tuple[float, np.ndarray]]:
        """Yields the seconds of each frame by the file's clock, or NaN, and its image."""
        self._num_frames = self._num_packets = 0
        self._first_fault: str | None = None
        end, last, longest, interlaced = 0.0, math.nan, 0.0, False
        self._colors_assumed = False
        for packet in self._packets():
            if packet.size and packet.pts is not None:
                stop = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                # Sound may be longer than the pictures, and then counts as the file's duration.
                if packet.stream is self._stream or not self._stream.duration:
                    end = max(end, stop)
            if packet.stream is not self._stream:
                continue
            for frame in self._decode(packet):
                if frame.width * frame.height > MAX_PIXELS:
                    self._note_fault(f"frame {self._num_frames} is too large")
                    break
                seconds = math.nan if frame.pts is None else float(frame.pts * frame.time_base)
                longest = max(longest, seconds - last) if seconds > last else longest
                last = seconds
                if frame.interlaced_frame and not interlaced:
                    interlaced = True
                    self.notes.append(f"{self.path}: {_INTERLACED}")
                image = self._convert(frame)
                if image is not None:
                    self._num_frames += 1
                    yield seconds, image
        # Where the duration is that of the longest stream, it contains the delay of a sound codec.
        delay = 0.0 if self._stream.duration or len(self._container.streams) == 1 else 0.25
        self._judge(end, max(longest, 2 / self._rate) + delay)

    def _packets(self) -> Iterator[Any]:
        """Yields the packets of all streams; an error while reading ends them."""
        packets = self._container.demux()
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except self._errors as error:
                self._note_fault(f"cannot be read further ({_reason(error)})")
                return
            yield packet

    def _decode(self, packet: Any) -> list[Any]:
        """Decodes a packet; notes damaged ones."""
        self._num_packets += bool(packet.size)
        start = self._stream.start_time or 0
        place = "is damaged"
        if packet.pts is not None:
            place += f" near second {float((packet.pts - start) * packet.time_base):.2f}"
        try:
            frames = packet.decode()
        except self._errors as error:
            # A recording may begin between two key frames; nothing is wrong with it.
            if self._num_frames or packet.is_keyframe:
                self._note_fault(f"{place} ({_reason(error)})")
            return []
        if packet.is_corrupt or any(frame.is_corrupt for frame in frames):
            self._note_fault(place)
        return frames

    def _note_fault(self, text: str) -> None:
        self._first_fault = self._first_fault or text

    def _judge(self, end: float, tolerance: float) -> None:
        """Decides whether frames are missing, damaged or undecodable."""
        if self._num_frames == 0:
            if self._num_packets:
                self.fault = (
                    f"{self.path}: no frame can be decoded; the file is damaged, or its codec "
                    f"{_codec_name(self._container)} is not supported; {_CONVERT}"
                )
            return
        if self._duration is not None and self._duration - end > tolerance:
            where = f"at {end:.2f} of {self._duration:.2f} seconds"
            if self._stream.frames > self._num_frames:
                where = f"after {self._num_frames} of {self._stream.frames} frames"
            self.fault = f"{self.path}: ends {where}, so it is truncated or damaged"
        elif _ends_within(self.path, self._container.format.name):
            self.fault = f"{self.path}: ends within a unit of its format, so it is truncated"
        elif self._first_fault is not None:
            self.fault = f"{self.path}: {self._first_fault}"

    def _convert(self, frame: Any) -> np.ndarray | None:
        """Converts a frame to uint8 (H, W, 3), RGB, upright; None if that is not possible."""
        alpha = any(component.is_alpha for component in frame.format.components)
        if frame.format.name == "pal8":  # The palette may be transparent.
            alpha = True
        image = self._to_rgb(frame, "rgba" if alpha else "rgb24")
        if image is None:
            return None
        matrix = self._display_matrix(frame)
        if matrix is not None:
            image = upright(image, matrix)
        return read_image(image, name=str(self.path)) if alpha else image

    def _to_rgb(self, frame: Any, pixels: str) -> np.ndarray | None:
        options = {}
        if frame.color_trc in _HDR:
            options = {"dst_color_trc": _BT709, "dst_color_primaries": _BT709}
        try:
            return self._reformatter.reformat(frame, format=pixels, **options).to_ndarray()
        except self._errors:
            # FFmpeg converts only some of the colors that a file may name, damaged ones aside.
            named = int(frame.colorspace), int(frame.color_range)
        frame.colorspace = frame.color_trc = frame.color_primaries = _UNSPECIFIED
        frame.color_range = 0
        try:
            image = self._reformatter.reformat(frame, format=pixels).to_ndarray()
        except self._errors as error:
            self._note_fault(f"frame {self._num_frames} cannot be converted ({_reason(error)})")
            return None
        if not self._colors_assumed:
            self._colors_assumed = True
            self.notes.append(
                f"{self.path}: its colors (colorspace {named[0]}, color range {named[1]}) cannot "
                "be converted; those of ordinary video are assumed"
            )
        return image

    def _display_matrix(self, frame: Any) -> np.ndarray | None:
        # PyAV never frees a frame whose side data was looked at, so that one of each kind is.
        kind = frame.rotation, frame.width, frame.height
        if kind not in self._matrices:
            data = frame.side_data.get("DISPLAYMATRIX")
            matrix = None if data is None else np.frombuffer(bytes(data), np.int32).reshape(3, 3)
            self._matrices[kind] = matrix
        return self._matrices[kind]


def upright(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Turns and mirrors a frame as its display matrix says.

    Args:
        image: uint8 (H, W, 3).
        matrix: int32 (3, 3), as FFmpeg stores it: (x, y, 1) @ matrix is the place where a pixel is
            displayed, y down.

    Returns:
        The frame as it is displayed. Only quarter turns and mirroring are applied; scaling is
        ignored, and other angles leave the frame as it is stored.

    Example:
        >>> image = np.arange(6, dtype="uint8").reshape(2, 3, 1).repeat(3, axis=2)
        >>> upright(image, 65536 * np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]]))[..., 0]
        array([[3, 0],
               [4, 1],
               [5, 2]], dtype=uint8)
    """
    (a, b), (c, d) = matrix[:2, :2].astype(float)
    straight, swapped = abs(a * d), abs(b * c)
    if min(straight, swapped) > 1e-3 * max(straight, swapped) or straight == swapped:
        return image
    # cv2 copies several times faster than NumPy.
    if swapped > straight:
        image = cv2.transpose(image)
        a, d = c, b
    if a < 0 or d < 0:
        image = cv2.flip(image, -1 if a < 0 and d < 0 else 1 if a < 0 else 0)
    return image


def _open_file(path: Path) -> Any:
    file = open_regular(path)
    if not os.fstat(file.fileno()).st_size:
        file.close()
        raise FaceAlignError(f"{path}: the file is empty; replace it")
    return file


def _ends_within(path: Path, format_name: str) -> bool:
    """Whether a file ends within a box or packet of its format, or lacks the sign of its end.

    FFmpeg passes over an unfinished fragment at the end of a file without a word.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if format_name == "gif":
            file.seek(-min(size, 64), os.SEEK_END)
            return not file.read().rstrip(b"\0").endswith(b";")
        if format_name == "mpegts":
            start = file.read(189)
            return start[:1] == start[-1:] == b"G" and size % 188 > 0
        offset = 0
        while format_name.startswith("mov") and offset < size:
            file.seek(offset)
            head = file.read(16).ljust(16, b"\0")
            length = int.from_bytes(head[:4], "big")
            if length == 1:
                length = int.from_bytes(head[8:], "big")
            # A box of length 0 extends to the end; what is no box was appended.
            if length < 8 or not head[4:8].isalnum():
                return False
            offset += length
        return offset > size


def _attached() -> int:
    return int(import_av().stream.Disposition.attached_pic)


def _codec_name(container: Any) -> str:
    """Name of a video stream's codec, or the four characters that the file calls it by."""
    logging = import_av().logging
    level = logging.get_level()
    logging.set_level(logging.INFO)
    try:
        with logging.Capture():
            text = container.dumps_format()
    finally:
        logging.set_level(level)
    name = text.partition("Video: ")[2].partition(",")[0].strip()
    return name.removeprefix("none ").strip("()").partition(" / ")[0] or "of an unknown name"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split())
