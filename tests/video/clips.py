"""Short videos for the tests of reading and writing."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from keras_facealign.video import video_writer

SIZE = (96, 64)


def frame(index: int, size=SIZE) -> np.ndarray:
    """Makes an image whose color encodes its number."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[:, :] = (10 + 6 * index, 200 - 5 * index, 90)
    return image


def write_clip(path: Path, count: int = 20, rate: float = 20.0) -> Path:
    with video_writer(path, rate, SIZE) as writer:
        for index in range(count):
            writer.write(frame(index))
    return path


def mux_clip(
    path: Path,
    times: Iterable[float],
    codec: str = "libx264",
    pixels: str = "yuv420p",
    images: Iterable[np.ndarray] | None = None,
    stored: str = "rgb24",
    tick: Fraction = Fraction(1, 1000),
    mux: dict[str, str] | None = None,
    encode: dict[str, str] | None = None,
    **context,
) -> Path:
    """Writes a clip with PyAV itself, for what `video_writer` never writes."""
    times = list(times)
    images = list(images) if images is not None else [frame(i) for i in range(len(times))]
    with av.open(str(path), "w", options=mux or {}) as container:
        stream = container.add_stream(codec, rate=25, options=encode or {})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt, stream.codec_context.time_base = pixels, tick
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        for seconds, image in zip(times, images, strict=True):
            item = av.VideoFrame.from_ndarray(image, format=stored)
            item.pts, item.time_base = round(seconds / tick), tick
            item.duration = max(1, round(0.04 / tick))
            container.mux(stream.encode(item))
        container.mux(stream.encode(None))
    return path


def add_sound(path: Path, source: Path, codec: str, rate: int = 44100, start: float = 0.0) -> Path:
    """Writes a video again with a sound as long as it, which swells and fades each second."""
    with av.open(str(source)) as video, av.open(str(path), "w") as container:
        pictures = video.streams.video[0]
        copied = container.add_stream_from_template(pictures)
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono"
        packets = [packet for packet in video.demux(pictures) if packet.dts is not None]
        seconds = (
            np.arange(round(rate * float(packets[-1].pts * packets[-1].time_base) + rate)) / rate
        )
        tone = np.sin(2 * np.pi * 440 * seconds) * np.sin(np.pi * seconds) ** 2
        frame = av.AudioFrame.from_ndarray((20_000 * tone)[None].astype("int16"), "s16", "mono")
        frame.sample_rate, frame.pts = rate, round(start * rate)
        for packet in packets:
            packet.stream = copied
            container.mux(packet)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def patch_box(path: Path, box: bytes, offset: int, values: bytes) -> Path:
    """Overwrites bytes of the first MP4 box of a name, counted from its name's end."""
    content = bytearray(path.read_bytes())
    start = content.index(box) + len(box) + offset
    content[start : start + len(values)] = values
    path.write_bytes(content)
    return path


def set_display_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Stores a display matrix in an MP4 file of one track."""
    one = 1 << 16
    matrix = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    return patch_box(path, b"tkhd", 40, matrix)
