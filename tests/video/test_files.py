"""Videos that come back, and those that are cut off, empty or none."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from keras_facealign.errors import FaceAlignError
from keras_facealign.video import TrackedFace
from keras_facealign.video.files import VideoReader, draw_tracked, video_writer

SIZE = (96, 64)


def frame(index: int, size=SIZE) -> np.ndarray:
    """A picture whose color tells its number."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[:, :] = (10 + 6 * index, 200 - 5 * index, 90)
    return image


def write(path: Path, count: int = 20, rate: float = 20.0) -> Path:
    with video_writer(path, rate, SIZE) as writer:
        for index in range(count):
            writer.write(frame(index))
    return path


@pytest.mark.parametrize("ending", [".mp4", ".avi", ".mov", ".mkv"])
def test_frames_come_back_in_order_with_their_times(ending, tmp_path):
    path = write(tmp_path / f"clip{ending}")
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


def test_a_folder_of_pictures_is_a_video(tmp_path):
    for index in (2, 0, 10, 1):
        Image.fromarray(frame(index)).save(tmp_path / f"f{index:02d}.png")
    (tmp_path / "notes.txt").write_text("none")
    with VideoReader(tmp_path, frame_rate=5) as reader:
        frames = list(reader)
    assert [f.time for f in frames] == pytest.approx([0, 0.2, 0.4, 0.6])
    for item, index in zip(frames, (0, 1, 2, 10), strict=True):
        np.testing.assert_array_equal(item.image, frame(index))


def test_a_picture_that_cannot_be_read_ends_the_video(tmp_path):
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
    path = write(tmp_path / "clip.avi", 40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with VideoReader(path) as reader:
        count = len(list(reader))
    assert 5 < count < 35
    assert reader.num_frames == 40 and reader.num_read == count and reader.cut_off


def write_cut_mp4(path: Path) -> None:
    write(path)
    # The index is at the end.
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_bytes(b"no video " * 50), "cannot be read as a video"),
        (write_cut_mp4, "cut off before its index"),
        (lambda path: path.mkdir(), "holds no pictures"),
        (lambda path: None, "there is no such file"),
    ],
)
def test_what_is_no_video_is_named(make, complaint, tmp_path, capfd):
    path = tmp_path / "clip.mp4"
    make(path)
    with pytest.raises(FaceAlignError, match=complaint) as error:
        VideoReader(path)
    assert str(error.value).startswith(f"{path}: ")
    assert capfd.readouterr().err == ""


def test_a_video_without_frames_is_read_as_such(tmp_path):
    path = tmp_path / "none.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 20, SIZE)
    writer.release()
    reader = VideoReader(path)
    assert list(reader) == [] and reader.num_read == 0


def test_one_picture_of_a_numbered_series_is_one_frame(tmp_path):
    for index in range(3):
        Image.fromarray(frame(index)).save(tmp_path / f"f{index}.png")
    assert len(list(VideoReader(tmp_path / "f0.png"))) == 1


def test_frames_of_another_size_are_fitted_in(tmp_path):
    path = tmp_path / "clip.avi"
    with video_writer(path, 10, SIZE) as writer:
        writer.write(frame(0))
        writer.write(np.full((128, 96, 3), 200, np.uint8))  # tall: black at both sides
        assert writer.num_resized == 1 and writer.num_written == 2
    second = list(VideoReader(path))[1].image
    assert second.shape == (64, 96, 3)
    assert second[:, 28:68].min() > 150 and second[:, :18].max() < 40 > second[:, 78:].max()


def test_a_run_that_fails_leaves_nothing_and_an_old_file_as_it_was(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), video_writer(path, 20, SIZE) as writer:
        writer.write(frame(0))
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["clip.mp4"]


class NoWriter:
    """An OpenCV without codecs, or one whose disk is full."""

    def __init__(self, opened: bool) -> None:
        self.opened = opened

    def isOpened(self) -> bool:
        return self.opened

    def write(self, image) -> None: ...

    def release(self) -> None: ...


def test_a_missing_codec_and_a_full_disk_are_said(tmp_path, monkeypatch):
    path = tmp_path / "clip.mp4"
    for opened, complaint in ((False, "cannot write mp4v video"), (True, "only 0 of 9 frames")):

        class Writer:
            fourcc = staticmethod(cv2.VideoWriter.fourcc)

            def __new__(cls, *_, opened=opened):
                return NoWriter(opened)

        with monkeypatch.context() as patch:
            patch.setattr(cv2, "VideoWriter", Writer)
            with pytest.raises(FaceAlignError, match=complaint):
                write(path, 9)
    assert os.listdir(tmp_path) == []
    with (
        pytest.raises(FaceAlignError, match=r"ending '\.gif'; use \.mp4, \.mov"),
        video_writer(tmp_path / "clip.gif", 20, SIZE),
    ):
        pass
    with pytest.raises(FaceAlignError, match="frame_rate is 0"):
        VideoReader(tmp_path, frame_rate=0)


def test_faces_are_drawn_with_their_numbers():
    rng = np.random.default_rng(0)
    points = rng.uniform([60, 60], [140, 140], (68, 2)).astype(np.float32)
    faces = [
        TrackedFace(points, np.ones(68, np.float32), np.array([50, 50, 150, 150.0]), id=number)
        for number in (3, 8)
    ]
    image = np.full((200, 200, 3), 120, np.uint8)
    three, eight = (draw_tracked(image, [face]) for face in faces)
    assert (image == 120).all()
    changed = np.argwhere((three != eight).any(axis=-1))
    # Only the number differs, above the landmarks.
    assert len(changed) > 5 and changed[:, 0].max() < 60
    outside = TrackedFace(points - 500, faces[0].confidence, faces[0].box, id=1)
    assert draw_tracked(image, [outside]).shape == image.shape
