"""Decoding with PyAV: orientation, sizes, pixel formats, and files that are damaged or cut off."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from keras_facealign.errors import FaceAlignError
from keras_facealign.video import VideoReader, decoding, video_writer
from tests.video.clips import SIZE, frame, mux_clip, set_display_matrix, write_clip

NO_MATRIX = (1, 0, 0, 1)
# Display matrices (a, b, c, d), and the corner and direction to which each takes a mark that lies
# in the top left corner and is wide.
ORIENTATIONS = {
    NO_MATRIX: ("top left", "wide"),
    (0, 1, -1, 0): ("top right", "tall"),  # a quarter turn clockwise
    (-1, 0, 0, -1): ("bottom right", "wide"),
    (0, -1, 1, 0): ("bottom left", "tall"),
    (-1, 0, 0, 1): ("top right", "wide"),  # mirrored
    (1, 0, 0, -1): ("bottom left", "wide"),
    (0, 1, 1, 0): ("top left", "tall"),  # mirrored at a diagonal
    (0, -1, -1, 0): ("bottom right", "tall"),
}


def marked() -> np.ndarray:
    image = np.full((64, 96, 3), 20, np.uint8)
    image[4:12, 6:38] = 230
    return image


@pytest.mark.parametrize("matrix", list(ORIENTATIONS))
def test_frames_are_turned_and_mirrored_as_the_file_says(matrix, tmp_path):
    path = mux_clip(tmp_path / "clip.mp4", [0, 0.04], images=[marked()] * 2)
    if matrix != NO_MATRIX:
        set_display_matrix(path, *matrix)
    corner, direction = ORIENTATIONS[matrix]
    margin = (6, 4) if direction == "wide" else (4, 6)
    size = (96, 64) if direction == "wide" else (64, 96)
    mark = (32, 8) if direction == "wide" else (8, 32)
    x = margin[0] if "left" in corner else size[0] - margin[0] - mark[0]
    y = margin[1] if "top" in corner else size[1] - margin[1] - mark[1]
    expected = np.full((size[1], size[0]), False)
    expected[y : y + mark[1], x : x + mark[0]] = True
    for item in VideoReader(path):
        assert item.image.flags.c_contiguous
        np.testing.assert_array_equal(item.image[:, :, 1] > 125, expected)


def test_each_frame_has_its_own_size(tmp_path):
    sizes = [SIZE] * 3 + [(64, 80)] * 2 + [(33, 65)] * 2
    parts = b""
    for size in dict.fromkeys(sizes):
        images = [frame(i, size) for i in range(sizes.count(size))]
        even = all(side % 2 == 0 for side in size)
        pixels = "yuv420p" if even else "yuv444p"
        part = mux_clip(tmp_path / "p.h264", np.arange(len(images)), pixels=pixels, images=images)
        parts += part.read_bytes()
    path = tmp_path / "clip.h264"
    path.write_bytes(parts)
    reader = VideoReader(path)
    assert [(f.image.shape[1], f.image.shape[0]) for f in reader] == sizes
    assert reader.fault is None


def test_gray_transparent_and_deep_pixels_become_rgb(tmp_path):
    gray = np.full((64, 96), 120, np.uint8)
    path = mux_clip(tmp_path / "g.mkv", [0], "ffv1", "gray", [gray], "gray")
    assert (next(iter(VideoReader(path))).image == 120).all()
    half = np.zeros((64, 96, 4), np.uint8)
    half[:, :48] = (200, 100, 50, 255)
    path = mux_clip(tmp_path / "a.mkv", [0], "ffv1", "bgra", [half], "rgba")
    image = next(iter(VideoReader(path))).image
    assert (image[:, :48] == (200, 100, 50)).all() and (image[:, 48:] == 255).all()
    deep = np.full((96, 96), 512, np.uint16)
    deep[:64] = 64 + 438  # half of the range 64 to 940
    path = mux_clip(tmp_path / "d.mkv", [0], "ffv1", "yuv420p10le", [deep], "yuv420p10le")
    assert np.abs(next(iter(VideoReader(path))).image - 127.5).max() <= 2


@pytest.mark.slow
def test_white_of_hdr_is_white(tmp_path):
    # ITU-R BT.2408: the white of ordinary video is at 58 % of the PQ signal.
    signal = np.full((24, 16), 512, np.uint16)
    signal[:16] = 64 + round(0.58 * 876)
    path = mux_clip(
        tmp_path / "hdr.mkv", [0], "ffv1", "yuv420p10le", [signal], "yuv420p10le",
        color_trc=16, color_primaries=9, colorspace=9, color_range=1,
    )  # fmt: skip
    assert next(iter(VideoReader(path))).image.min() > 240


def test_colors_of_high_definition_are_converted_by_their_own_matrix(tmp_path):
    # Pure red in BT.709, limited range: Y = 16 + 219 * 0.2126, Cb = 128 - 112 * 0.2126 / 0.9278.
    red = np.zeros((96, 96), np.uint8)
    red[:64], red[64:80], red[80:] = 63, 102, 240
    for name, matrix in (("a", 1), ("b", 6)):
        path = mux_clip(
            tmp_path / f"{name}.mkv", [0], "ffv1", "yuv420p", [red], "yuv420p",
            colorspace=matrix, color_range=1,
        )  # fmt: skip
        image = next(iter(VideoReader(path))).image[32, 48]
        assert (np.abs(image - np.array([255, 0, 0])).max() <= 3) == (matrix == 1)


@pytest.mark.parametrize("colorspace", [8, 12])  # YCgCo, derived from the primaries
def test_colors_that_cannot_be_converted_are_those_of_ordinary_video(colorspace, tmp_path):
    gray = np.full((96, 96), 128, np.uint8)
    gray[:64] = 120
    path = mux_clip(
        tmp_path / "clip.mkv", [0, 0.04], "ffv1", "yuv420p", [gray] * 2, "yuv420p",
        colorspace=colorspace, color_range=1,
    )  # fmt: skip
    reader = VideoReader(path)
    images = [item.image for item in reader]
    assert len(images) == 2 and reader.fault is None
    assert np.abs(np.array(images, float) - (120 - 16) * 255 / 219).max() <= 1
    (note,) = reader.notes
    assert f"colorspace {colorspace}" in note and "ordinary video are assumed" in note


def test_frames_that_cannot_be_converted_are_a_fault(tmp_path, monkeypatch):
    class Reformatter:
        def __init__(self):
            self.count = 0

        def reformat(self, frame, **options):
            self.count += 1
            if self.count in (2, 3):  # the second frame, also with other colors
                raise av.error.OSError(95, "Operation not supported")
            return frame.reformat(**options)

    path = write_clip(tmp_path / "clip.mp4", 3)
    monkeypatch.setattr(av.video.reformatter, "VideoReformatter", Reformatter)
    reader = VideoReader(path)
    assert len(list(reader)) == 2
    assert "frame 1 cannot be converted (Operation not supported)" in reader.fault


def remux(source: Path, target: Path, **options: str) -> Path:
    """Copies the packets of a clip into another file, with options of the format."""
    with av.open(str(source)) as old, av.open(str(target), "w", options=options) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    return target


@pytest.mark.parametrize("kind", ["index first", "fragments", "mkv", "avi", "gif", "ts"])
def test_a_file_that_ends_early_says_so_and_a_whole_one_does_not(kind, tmp_path):
    path = write_clip(tmp_path / "whole.mp4", 40)
    if kind == "index first":
        path = remux(path, tmp_path / "clip.mp4", movflags="faststart")
    elif kind == "fragments":
        options = {"movflags": "frag_keyframe+empty_moov", "frag_duration": "400000"}
        path = remux(path, tmp_path / "clip.mp4", **options)
    elif kind == "ts":
        path = remux(path, tmp_path / "clip.ts")
    elif kind == "gif":
        path = tmp_path / "clip.gif"
        images = [Image.fromarray(frame(i)) for i in range(40)]
        images[0].save(path, save_all=True, append_images=images[1:], duration=50)
    else:
        path = write_clip(tmp_path / f"clip.{kind}", 40)
    reader = VideoReader(path)
    assert len(list(reader)) == 40 and reader.fault is None and not reader.cut_off
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 5 + (len(content) * 3 // 5 % 188 == 0)])
    reader = VideoReader(path)
    assert 3 < len(list(reader)) < 40
    assert reader.cut_off and "truncated" in str(reader.fault) and str(path) in str(reader.fault)


def test_sound_that_goes_on_after_the_pictures_is_no_fault(tmp_path):
    for ending in (".mkv", ".mp4"):
        path = tmp_path / f"clip{ending}"
        with av.open(str(path), "w") as container:
            video = container.add_stream("mpeg4", rate=25)
            video.width, video.height = SIZE
            audio = container.add_stream("aac", rate=8000)
            for index in range(10):
                container.mux(video.encode(av.VideoFrame.from_ndarray(frame(index))))
            for index in range(30):
                item = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
                item.sample_rate, item.pts = 8000, 1024 * index
                container.mux(audio.encode(item))
            container.mux(video.encode(None))
            container.mux(audio.encode(None))
        reader = VideoReader(path)
        assert len(list(reader)) == 10 and reader.fault is None


def test_damage_in_the_middle_is_reported_and_the_rest_is_read(tmp_path):
    path = mux_clip(tmp_path / "clip.mp4", np.arange(20) / 25, encode={"bf": "0"})
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    content = bytearray(path.read_bytes())
    start, size = packets[10]
    content[start : start + size] = bytes(size)
    path.write_bytes(content)
    reader = VideoReader(path)
    frames = list(reader)
    times = [time for index, time in enumerate(np.arange(20) / 25) if index != 10]
    assert [f.time for f in frames] == pytest.approx(times, abs=1e-3)
    # Decoding threads report the error a few frames later.
    assert reader.cut_off and f"{path}: is damaged near second 0." in str(reader.fault)


def test_an_unknown_codec_is_named_and_not_called_damage(tmp_path):
    path = write_clip(tmp_path / "clip.mp4")
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(
        FaceAlignError, match=r"clip\.mp4: its codec zzzz cannot be decoded .* conv"
    ):
        VideoReader(path)
    images = [Image.fromarray(frame(i)) for i in range(3)]
    images[0].save(tmp_path / "a.webp", save_all=True, append_images=images[1:], duration=50)
    reader = VideoReader(tmp_path / "a.webp")
    assert list(reader) == [] and "its codec webp is not supported; conv" in str(reader.fault)


def test_sound_without_pictures_is_named(tmp_path):
    path = tmp_path / "sound.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))
    with pytest.raises(FaceAlignError, match=r"sound\.wav: contains no video, only audio"):
        VideoReader(path)


def test_a_cover_picture_is_not_a_video(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        audio, cover = container.add_stream("aac", rate=8000), container.add_stream("mjpeg", rate=1)
        cover.width, cover.height = SIZE
        cover.pix_fmt, cover.disposition = "yuvj420p", Disposition.attached_pic
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 8000
        for stream, item in ((audio, sound), (cover, av.VideoFrame.from_ndarray(frame(0)))):
            container.mux(stream.encode(item))
            container.mux(stream.encode(None))
    with pytest.raises(FaceAlignError, match="contains no video, only a cover picture and audio"):
        VideoReader(path)


def test_of_two_streams_the_default_or_larger_one_is_read(tmp_path):
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = []
        for size in ((32, 32), SIZE):
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height = size
            stream.disposition = 0
            streams.append(stream)
        for index in range(5):
            for stream in streams:
                image = frame(index, (stream.width, stream.height))
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        for stream in streams:
            container.mux(stream.encode(None))
    reader = VideoReader(path)
    assert [f.image.shape for f in reader] == [(64, 96, 3)] * 5
    assert "has 2 video streams; stream 1, 96x64 pixels, is read" in reader.notes[0]


@pytest.mark.parametrize("interlaced", [False, True])
def test_an_interlaced_video_says_so_once(interlaced, tmp_path):
    encode = {"flags": "+ildct+ilme"} if interlaced else {}
    path = tmp_path / "clip.mkv"
    mux_clip(path, [0.0, 0.04, 0.08, 0.12], "mpeg2video", tick=Fraction(1, 25), encode=encode)
    reader = VideoReader(path)
    assert len(list(reader)) == 4
    assert [("is interlaced" in note and "bwdif" in note) for note in reader.notes] == [
        True
    ] * interlaced


def test_frames_without_end_are_refused(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "clip.mp4")
    monkeypatch.setattr(decoding, "MAX_PIXELS", 6000)
    with pytest.raises(FaceAlignError, match="96x64 = 6144 pixels, over the limit of 6000"):
        VideoReader(path)


@pytest.mark.parametrize("size, read", [((640, 480), 2), ((15136, 2714), 0)])
def test_frames_far_larger_than_the_file_says_are_not_decoded(size, read, tmp_path):
    path = mux_clip(tmp_path / "clip.webm", [0, 0.04], "libvpx", encode={"g": "1"})
    content, start = path.read_bytes(), b"\x9d\x01\x2a"  # of a key frame of VP8; its size follows
    stated, claimed = (start + struct.pack("<2H", *each) for each in (SIZE, size))
    assert content.count(stated) == 2
    path.write_bytes(content.replace(stated, claimed))
    reader = VideoReader(path)
    assert [f.image.shape[1::-1] for f in reader] == [size] * read
    assert (reader.fault is None) == bool(read)


def test_a_playlist_opens_no_other_file(tmp_path):
    with video_writer(tmp_path / "clip.mp4", 20, SIZE) as writer:
        writer.write(frame(0))
    path = tmp_path / "list.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\nclip.mp4\n#EXT-X-ENDLIST\n")
    with pytest.raises(FaceAlignError, match="cannot be read as a video"):
        VideoReader(path)


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FaceAlignError, match="pipe: is not a regular file"):
        VideoReader(tmp_path / "pipe")


def test_memory_does_not_grow_with_the_number_of_frames(tmp_path):
    size = (640, 480)
    path = tmp_path / "clip.mp4"
    with video_writer(path, 25, size) as writer:
        for index in range(120):
            writer.write(frame(index % 20, size))
    script = (
        "import resource, sys\n"
        "from keras_facealign.video import VideoReader\n"
        "for item in VideoReader(sys.argv[1]):\n"
        "    if item.index in (39, 119):\n"
        "        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    early, late = map(int, subprocess.check_output(command).split())
    # Kilobytes; 80 frames are 36 MB as they are decoded.
    assert late - early < 15_000
