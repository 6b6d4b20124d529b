"""Reading videos that are complete, truncated, empty or not videos."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_facealign.errors import FaceAlignError
from keras_facealign.video import VideoReader
from keras_facealign.video.decoding import VideoDecoder
from tests.video.clips import frame, mux_clip, patch_box, write_clip

# Steps from 10 ms to a second.
UNEVEN = [0.0, 0.04, 0.08, 0.2, 0.21, 0.5, 0.9, 1.0, 2.0, 2.5]


@pytest.mark.parametrize("ending", [".mp4", ".avi", ".mov", ".mkv"])
def test_frames_come_back_in_order_with_their_times(ending, tmp_path):
    path = write_clip(tmp_path / f"clip{ending}")
    with VideoReader(path) as reader:
        assert reader.num_frames == 20
        assert reader.frame_rate == pytest.approx(20)
        frames = list(reader)
    assert [f.index for f in frames] == list(range(20))
    np.testing.assert_allclose([f.time for f in frames], np.arange(20) / 20, atol=2e-3)
    for item in frames:
        assert item.image.shape == (64, 96, 3) and item.image.dtype == np.uint8
        np.testing.assert_allclose(item.image[32, 48], frame(item.index)[0, 0], atol=12)
    assert reader.num_read == 20 and not reader.cut_off
    assert frames[3].name == f"{path}, frame 3"
    assert os.listdir(tmp_path) == [path.name]


def test_a_folder_of_images_is_a_video(tmp_path):
    for index in (2, 0, 10, 1):
        Image.fromarray(frame(index)).save(tmp_path / f"f{index:02d}.png")
    (tmp_path / "notes.txt").write_text("none")
    with VideoReader(tmp_path, frame_rate=5) as reader:
        frames = list(reader)
    assert [f.time for f in frames] == pytest.approx([0, 0.2, 0.4, 0.6])
    for item, index in zip(frames, (0, 1, 2, 10), strict=True):
        np.testing.assert_array_equal(item.image, frame(index))


def test_an_image_that_cannot_be_read_ends_the_video(tmp_path):
    for index in range(4):
        Image.fromarray(frame(index)).save(tmp_path / f"f{index}.png")
    (tmp_path / "f2.png").write_bytes((tmp_path / "f2.png").read_bytes()[:60])
    reader = VideoReader(tmp_path)
    assert len(list(reader)) == 2
    assert reader.cut_off and reader.fault is not None and "f2.png" in reader.fault
    (tmp_path / "f0.png").write_bytes(b"")
    with pytest.raises(FaceAlignError, match=r"f0\.png: the file is empty"):
        list(VideoReader(tmp_path))


def test_a_video_that_is_cut_off_gives_what_there_is_of_it(tmp_path):
    path = write_clip(tmp_path / "clip.avi", 40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with VideoReader(path) as reader:
        count = len(list(reader))
    assert 5 < count < 35
    assert reader.num_frames == 40 and reader.num_read == count and reader.cut_off


def write_cut_mp4(path: Path) -> None:
    write_clip(path)
    # The index is at the end.
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_bytes(b"no video " * 50), "cannot be read as a video"),
        (write_cut_mp4, "truncated before its index"),
        (lambda path: path.mkdir(), "contains no images"),
        (lambda path: None, r"cannot be opened \(No such file or directory\)"),
    ],
)
def test_what_is_not_a_video_is_named(make, complaint, tmp_path, capfd):
    path = tmp_path / "clip.mp4"
    make(path)
    with pytest.raises(FaceAlignError, match=complaint) as error:
        VideoReader(path)
    assert str(error.value).startswith(f"{path}: ")
    assert capfd.readouterr().err == ""


def test_a_video_without_frames_is_read_as_such(tmp_path):
    path = write_clip(tmp_path / "none.avi", 0)
    reader = VideoReader(path)
    assert list(reader) == [] and reader.num_read == 0


def test_one_image_of_a_numbered_series_is_one_frame(tmp_path):
    for index in range(3):
        Image.fromarray(frame(index)).save(tmp_path / f"f{index}.png")
    assert len(list(VideoReader(tmp_path / "f0.png"))) == 1


def read(path: Path) -> tuple[VideoReader, list]:
    with VideoReader(path) as reader:
        return reader, list(reader)


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".mov", ".flv", ".nut"])
@pytest.mark.parametrize("b_frames", ["0", "2"])
def test_an_uneven_frame_rate_is_complete_and_keeps_its_times(ending, b_frames, tmp_path):
    path = mux_clip(tmp_path / f"clip{ending}", UNEVEN, encode={"bf": b_frames})
    reader, frames = read(path)
    assert [f.time for f in frames] == pytest.approx(UNEVEN, abs=1e-3)
    assert reader.fault is None and not reader.cut_off and reader.notes == []
    for item in frames:
        np.testing.assert_allclose(item.image[32, 48], frame(item.index)[0, 0], atol=12)


@pytest.mark.parametrize("ending", [".gif", ".apng"])
def test_an_animation_is_a_video(ending, tmp_path):
    images = [Image.fromarray(frame(i)) for i in range(4)]
    steps = [40, 40, 300, 120]
    images[0].save(
        tmp_path / f"a{ending}", "PNG" if ending == ".apng" else "GIF", save_all=True,
        append_images=images[1:], duration=steps,
    )  # fmt: skip
    reader, frames = read(tmp_path / f"a{ending}")
    assert [f.time for f in frames] == pytest.approx([0, 0.04, 0.08, 0.38])
    assert reader.fault is None
    for item in frames:
        np.testing.assert_allclose(item.image[0, 0], frame(item.index)[0, 0], atol=3)


def test_a_clock_that_starts_again_goes_on_and_one_that_stands_still_hardly_moves(tmp_path):
    path = mux_clip(tmp_path / "a.ts", np.arange(10) / 25, encode={"bf": "0"})
    path.write_bytes(2 * path.read_bytes())
    reader, frames = read(path)
    assert [f.time for f in frames] == pytest.approx(np.arange(20) / 25, abs=1e-3)
    assert "a.ts: 1 timestamps are not after the one before" in reader.notes[0]


def test_timestamps_that_do_not_increase_move_by_a_little(tmp_path, monkeypatch):
    seconds = [1.0, 1.04, 1.04, 1.03, 1.12, np.nan, 1.2]
    monkeypatch.setattr(
        VideoDecoder, "__iter__", lambda self: iter([(s, frame(0)) for s in seconds])
    )
    reader, frames = read(write_clip(tmp_path / "clip.mp4", 7, 25))
    expected = [0, 0.04, 0.041, 0.042, 0.12, 0.16, 0.2]
    assert [f.time for f in frames] == pytest.approx(expected)
    assert "2 timestamps" in reader.notes[0]


def test_only_what_an_edit_list_shows_is_read(tmp_path):
    path = mux_clip(tmp_path / "e.mp4", np.arange(30) / 20, encode={"bf": "0", "g": "30"})
    content = path.read_bytes()
    ticks = int.from_bytes(content[content.index(b"mdhd") + 16 :][:4], "big")
    # Half a second from half a second on, in ticks of the movie (1000) and of the track.
    patch_box(path, b"elst", 8, struct.pack(">ii", 500, ticks // 2))
    reader, frames = read(path)
    assert [f.time for f in frames] == pytest.approx(np.arange(10) / 20, abs=1e-3)
    np.testing.assert_allclose(frames[0].image[0, 0], frame(10)[0, 0], atol=12)
    assert reader.fault is None


def test_frames_of_a_folder_are_all_images_that_can_be_read(tmp_path):
    for name in ("b.jfif", "a.tga", "c.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "d.nef").write_bytes(b"x")
    (tmp_path / "._c.png").write_bytes(b"x")
    with VideoReader(tmp_path) as reader:
        assert [Path(frame.name).name for frame in reader] == ["a.tga", "b.jfif", "c.png"]
        (note,) = reader.notes
    assert "d.nef is a camera's raw file; convert it" in note


@pytest.mark.parametrize("rate", [0, -1, 1e-300, 1e5, float("nan"), float("inf")])
def test_impossible_frame_rates_are_refused(rate, tmp_path):
    path = write_clip(tmp_path / "clip.mp4", 2)
    with pytest.raises(FaceAlignError, match=r"frame_rate is .*; give 0\.001 to 1000"):
        VideoReader(path, rate)
