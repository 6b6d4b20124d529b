"""The sound of a video stays with its pictures."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.video import Sound, VideoReader, video_writer
from tests.video.clips import SIZE, add_sound, frame, mux_clip, write_clip


def copy_clip(source: Path, target: Path, count: int | None = None, first: int = 0) -> str | None:
    """Writes frames of a video again, with its sound; returns what is said of the sound."""
    with VideoReader(source) as reader:
        frames = list(reader)[first : None if count is None else first + count]
        assert reader.clock_start is not None
        start = reader.clock_start + frames[0].time
        with Sound(source, start) as sound, video_writer(target, 20, SIZE, sound=sound) as writer:
            for item in frames:
                writer.write(item.image, item.time - frames[0].time)
        return sound.note


def loudness(path: Path, step: float = 0.1) -> np.ndarray:
    """Root mean square of the sound in each tenth of a second by the file's clock."""
    powers: dict[int, list[float]] = {}
    with av.open(str(path)) as container:
        for item in container.decode(audio=0):
            values = item.to_ndarray().astype(float).ravel()
            values = values / (1 if np.abs(values).max(initial=0) <= 1.5 else 32768)
            for i, value in enumerate(values):
                slot = int((float(item.time) + i / item.sample_rate) / step)
                powers.setdefault(slot, []).append(value**2)
    return np.array([np.mean(powers.get(i, [0.0])) ** 0.5 for i in range(max(powers) + 1)])


@pytest.mark.parametrize(
    ("codec", "inside", "ending"),
    [
        ("aac", ".mp4", ".mp4"),
        ("aac", ".ts", ".mp4"),
        ("aac", ".mp4", ".mov"),
        ("ac3", ".mkv", ".avi"),
        ("pcm_s16le", ".mkv", ".avi"),
        ("flac", ".mkv", ".mkv"),
    ],
)
def test_the_sound_is_that_of_the_input(codec, inside, ending, tmp_path):
    source = add_sound(tmp_path / f"in{inside}", write_clip(tmp_path / "clip.mp4", 40), codec)
    out = tmp_path / f"out{ending}"
    assert copy_clip(source, out) is None
    assert len(list(VideoReader(out))) == 40
    found, given = loudness(out), loudness(source)
    # The clock of MPEG-TS does not begin at 0; the sound is loudest at 0.5 and 1.5 seconds.
    given = given[int(np.argmax(given > 0)) :]
    assert abs(int(np.argmax(found)) % 10 - 4.5) <= 1 and len(found) >= 19
    np.testing.assert_allclose(found[:19], given[:19], atol=0.05)


def test_the_sound_of_a_part_is_that_of_the_part(tmp_path):
    source = add_sound(tmp_path / "in.mkv", write_clip(tmp_path / "clip.mp4", 40), "aac")
    out = tmp_path / "out.mkv"
    assert copy_clip(source, out, count=20, first=10) is None  # from 0.5 to 1.5 seconds
    found = loudness(out)
    assert 10 <= len(found) <= 11
    np.testing.assert_allclose(found[1:9], loudness(source)[6:14], atol=0.08)


@pytest.mark.parametrize(
    ("codec", "inside", "ending", "name"),
    [("flac", ".mkv", ".mp4", "flac"), ("aac", ".mp4", ".avi", "aac")],
)
def test_what_a_format_cannot_have_is_said(codec, inside, ending, name, tmp_path):
    source = add_sound(tmp_path / f"in{inside}", write_clip(tmp_path / "clip.mp4"), codec)
    out = tmp_path / f"out{ending}"
    note = copy_clip(source, out)
    assert note and f"{out}: has no sound, since {name} cannot be stored in {ending}" in note
    with av.open(str(out)) as container:
        assert not container.streams.audio
    assert len(list(VideoReader(out))) == 20


def test_a_header_that_is_refused_costs_only_the_sound(tmp_path, monkeypatch):
    source = add_sound(tmp_path / "in.mkv", write_clip(tmp_path / "clip.mp4"), "flac")
    monkeypatch.setattr("keras_facealign.video.sound._KEEPS", {})
    note = copy_clip(source, tmp_path / "out.avi")
    with av.open(str(tmp_path / "out.avi")) as container:
        assert bool(container.streams.audio) == (note is None)
    assert len(list(VideoReader(tmp_path / "out.avi"))) == 20


def test_a_damaged_sound_costs_no_picture(tmp_path):
    source = add_sound(tmp_path / "in.mkv", write_clip(tmp_path / "clip.mp4", 40), "aac")
    content = bytearray(source.read_bytes())
    rng = np.random.default_rng(0)
    for place in rng.integers(len(content) // 2, len(content), 60):
        content[place] ^= 0xFF
    source.write_bytes(content)
    with VideoReader(source) as reader:
        count = sum(1 for _ in reader)
    copy_clip(source, tmp_path / "out.mp4")
    assert len(list(VideoReader(tmp_path / "out.mp4"))) == count > 0


def test_without_sound_and_without_a_clock(tmp_path):
    silent = write_clip(tmp_path / "clip.mp4")
    assert copy_clip(silent, tmp_path / "out.mp4") is None
    with VideoReader(silent, frame_rate=10) as reader:
        next(iter(reader))
        assert reader.clock_start is None
    late = mux_clip(tmp_path / "late.mkv", [2.0, 2.1])
    with VideoReader(late) as reader:
        next(iter(reader))
        assert reader.clock_start == pytest.approx(2.0)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(FaceAlignError, match=r"text\.mp4: its sound cannot be read"):
        Sound(tmp_path / "text.mp4")


def test_a_frame_alone(tmp_path):
    source = add_sound(tmp_path / "in.mp4", write_clip(tmp_path / "clip.mp4"), "aac")
    with Sound(source) as sound, video_writer(tmp_path / "o.mp4", 20, SIZE, sound=sound) as writer:
        writer.write(frame(0))
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert float(container.streams.audio[0].duration or 0) / 44100 <= 0.1
