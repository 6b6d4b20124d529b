"""Takes the sound of a video along: its packets are copied as they are, without decoding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.reading import open_regular
from keras_facealign.video.decoding import import_av, open_container

__all__ = ["Sound"]

_PCM = frozenset({"pcm_s16le", "pcm_u8", "pcm_s24le"})
# What players expect in a format; .mkv has any codec.
_KEEPS = {
    ".mp4": frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus"}),
    ".mov": frozenset({"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16be"}) | _PCM,
    ".avi": frozenset({"mp3", "mp2", "ac3"}) | _PCM,
}


class Sound:
    """The sound of a video file, to be copied into another one by `video_writer`.

    Of several streams the one marked as default is taken, or else the first. It begins with the
    first packet that is not before `start`.

    Args:
        path: The video file.
        start: Second, by the file's clock, at which the other video begins.

    Attributes:
        stream: The stream, a PyAV object; None if the file has no sound.
        note: Why it is missing or incomplete, in one line, or None.

    Raises:
        FaceAlignError: If the file is missing or cannot be read.

    Example:
        >>> with VideoReader("in.mp4") as reader:  # doctest: +SKIP
        ...     first = next(iter(reader))
        ...     sound = Sound("in.mp4", reader.clock_start)
        >>> with sound, video_writer("out.mp4", 25, (640, 480), sound=sound) as writer:
        ...     writer.write(first.image)  # doctest: +SKIP
    """

    def __init__(self, path: Path | str, start: float = 0.0) -> None:
        av = import_av()
        self.path, self.start = Path(path), start
        self.note: str | None = None
        self._errors = (av.FFmpegError, OSError, ValueError)
        self._waiting: Any = None
        self._last: int | None = None
        self._container: Any = None
        self._file = open_regular(self.path)
        try:
            self._container = open_container(self._file)
        except self._errors as error:
            self.close()
            raise FaceAlignError(f"{path}: its sound cannot be read; check the file") from error
        streams = [s for s in self._container.streams if s.type == "audio"]
        known = [s for s in streams if s.codec_context is not None]
        self.stream: Any = next(
            (s for s in known if s.disposition & 1), known[0] if known else None
        )
        if streams and self.stream is None:
            self.note = f"{path}: its sound has an unknown codec and is left out"
        self._packets = self._read()

    def fits(self, ending: str, name: Path) -> bool:
        """Whether a video of this ending can have the sound; if not, `note` says so.

        Args:
            ending: Such as `.mp4`.
            name: The video, for the message.
        """
        if self.stream is None:
            return False
        codec = self.stream.codec_context.name
        if codec in _KEEPS.get(ending, {codec}):
            return True
        self.leave_out(name)
        return False

    def leave_out(self, name: Path) -> None:
        """Notes that a video has no sound, since its format cannot have this one."""
        codec = self.stream.codec_context.name
        self.note = (
            f"{name}: has no sound, since {codec} cannot be stored in {name.suffix}; "
            "write .mkv to keep it"
        )

    def cut_off(self) -> None:
        """Notes that the sound ends early."""
        self.note = f"{self.path}: its sound is damaged, and is cut off where it cannot be read"

    def until(self, seconds: float) -> Iterator[Any]:
        """Yields the packets before a time that have not been taken yet.

        Args:
            seconds: Time since `start`.
        """
        while True:
            packet, self._waiting = self._waiting or next(self._packets, None), None
            if packet is None:
                return
            if packet.pts * packet.time_base >= seconds:
                self._waiting = packet
                return
            yield packet

    def _read(self) -> Iterator[Any]:
        """Yields all packets, their times counted from `start`."""
        packets = self._container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except self._errors:
                self.cut_off()
                return
            if packet is None:
                return
            if packet.pts is None or packet.dts is None or packet.is_corrupt:
                continue
            shift = round(self.start / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            # No format takes times that go back, which damaged and joined files have.
            if packet.pts < 0 or (self._last is not None and packet.dts <= self._last):
                continue
            self._last = packet.dts
            yield packet

    def __enter__(self) -> Sound:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        if self._container is not None:
            with suppress(*self._errors):
                self._container.close()
        self._file.close()
