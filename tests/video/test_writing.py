"""Writing videos, and what happens where that fails."""

from __future__ import annotations

import os

import cv2
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.video import VideoReader, video_writer
from tests.video.clips import SIZE, frame, write_clip


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


def test_a_missing_codec_and_a_full_disk_are_reported(tmp_path, monkeypatch):
    path = tmp_path / "clip.mp4"
    for opened, complaint in ((False, "cannot write mp4v video"), (True, "only 0 of 9 frames")):

        class Writer:
            fourcc = staticmethod(cv2.VideoWriter.fourcc)

            def __new__(cls, *_, opened=opened):
                return NoWriter(opened)

        with monkeypatch.context() as patch:
            patch.setattr(cv2, "VideoWriter", Writer)
            with pytest.raises(FaceAlignError, match=complaint):
                write_clip(path, 9)
    assert os.listdir(tmp_path) == []
    with (
        pytest.raises(
            FaceAlignError, match=r"unknown video format '\.gif'; use one of \.mp4, \.mov"
        ),
        video_writer(tmp_path / "clip.gif", 20, SIZE),
    ):
        pass
    with pytest.raises(FaceAlignError, match="frame_rate is 0"):
        VideoReader(tmp_path, frame_rate=0)
