"""Writing videos, and what happens where that fails."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.video import CODECS, VideoReader, video_writer
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


def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path, capfd):
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, hard))
    try:
        for ending in CODECS:
            path = tmp_path / f"clip{ending}"
            with (
                pytest.raises(FaceAlignError, match="cannot be written .* and space"),
                video_writer(path, 25, SIZE) as writer,
            ):
                for _ in range(20):
                    writer.write(noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    gc.collect()
    assert os.listdir(tmp_path) == [] and capfd.readouterr().err == ""


def test_what_cannot_be_written_is_named(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(av, "codecs_available", set())
        with pytest.raises(FaceAlignError, match=r"clip\.mp4: .* has no encoder for h264"):
            write_clip(tmp_path / "clip.mp4", 9)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "av", None)
        with pytest.raises(FaceAlignError, match=r'pip install "keras_facealign\[video\]"'):
            write_clip(tmp_path / "clip.mp4", 9)
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


def picture(size: tuple[int, int]) -> np.ndarray:
    """A dark image with a bright right border of two pixels."""
    image = np.full((size[1], size[0], 3), 30, np.uint8)
    image[:, -2:] = 220
    return image


@pytest.mark.parametrize("encoder", ["libx264", "mpeg4"])
@pytest.mark.parametrize("ending", list(CODECS))
@pytest.mark.parametrize("size", [(97, 65), (96, 65), (97, 64), (1, 3)])
def test_odd_sizes_lose_no_pixel(ending, size, encoder, tmp_path, monkeypatch):
    if encoder != "libx264":
        monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    path = tmp_path / f"clip{ending}"
    with video_writer(path, 20, size) as writer:
        for _ in range(2):
            writer.write(picture(size))
    for item in VideoReader(path):
        assert item.image.shape == (size[1], size[0], 3)
        assert np.abs(item.image[:, -1].astype(int) - 220).max() < 30
        if size[0] > 16:
            assert np.abs(item.image[:, :-16].astype(int) - 30).max() < 12


@pytest.mark.parametrize("encoder", ["libx264", "mpeg4"])
@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv"])
def test_frames_keep_their_times(ending, encoder, tmp_path, monkeypatch):
    if encoder != "libx264":
        monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    times = [0.0, 0.04, 0.08, 0.2, 0.21, 0.5, 0.9, 1.0, 2.0, 2.5]
    path = tmp_path / f"clip{ending}"
    with video_writer(path, 25, SIZE) as writer:
        for index, time in enumerate(times):
            writer.write(frame(index), time)
    assert writer.largest_shift < 1e-4
    with av.open(str(path)) as container:
        stored = [float(f.pts * f.time_base) for f in container.decode(video=0)]
        assert container.streams.video[0].codec_context.codec.id == (
            27 if encoder != "mpeg4" else 12
        )
    assert stored == pytest.approx(times, abs=6e-4)
    reader = VideoReader(path)
    for item in reader:
        np.testing.assert_allclose(item.image[32, 48], frame(item.index)[0, 0], atol=6)
    assert reader.fault is None


def test_the_even_rate_of_avi_moves_frames_and_tells_how_far(tmp_path):
    path = tmp_path / "clip.avi"
    with video_writer(path, 10, SIZE) as writer:
        for index, time in enumerate([0.0, 0.1, 0.33, 0.35, 1.0]):
            writer.write(frame(index), time)
    # 0.33 and 0.35 become 0.3 and 0.4.
    assert writer.largest_shift == pytest.approx(0.05)
    assert [f.time for f in VideoReader(path)] == pytest.approx([0, 0.1, 0.3, 0.4, 1.0])


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_pixels_that_are_not_square_stay_so(ending, tmp_path):
    path = tmp_path / f"clip{ending}"
    with video_writer(path, 10, SIZE, pixel_aspect=Fraction(16, 11)) as writer:
        writer.write(frame(0))
    assert VideoReader(path).pixel_aspect == Fraction(16, 11)


def test_noise_and_a_still_frame_both_come_back(tmp_path):
    noise = np.random.default_rng(0).integers(60, 190, (64, 96, 1), np.uint8).repeat(3, axis=2)
    path = tmp_path / "clip.mp4"
    with video_writer(path, 10, SIZE) as writer:
        for image in (noise, noise, frame(0)):
            writer.write(image)
    first, second, third = (f.image.astype(int) for f in VideoReader(path))
    for item in (first, second):
        assert np.abs(item - noise).mean() < 8
    assert np.abs(third - frame(0)).mean() < 4


@pytest.mark.parametrize("rate", [0, -1, 1e-300, 1e300, float("nan")])
def test_impossible_frame_rates_are_refused(rate, tmp_path):
    for suffix in (".mp4", ".avi"):
        with (
            pytest.raises(FaceAlignError, match=r"clip.*: frame_rate is .*; give 0\.001 to 1000"),
            video_writer(tmp_path / f"clip{suffix}", rate, SIZE),
        ):
            pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("time", [-1.0, 1e12, float("nan"), float("inf")])
def test_impossible_times_are_refused(time, tmp_path):
    with (
        pytest.raises(FaceAlignError, match=r"clip\.mp4: frame 1 is at .* seconds; give 0 to"),
        video_writer(tmp_path / "clip.mp4", 25, SIZE) as writer,
    ):
        writer.write(frame(0), 0.0)
        writer.write(frame(1), time)
