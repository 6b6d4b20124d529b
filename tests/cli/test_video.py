"""`keras-facealign video` from the command line to the files, with a network of known answers."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from keras_facealign import detection, inference
from keras_facealign.cli import main
from keras_facealign.video import VideoReader, VideoWriter, tracking, video_writer
from tests.inference.dots import DotModel, LeaningModel, dots_in, draw_dots
from tests.video.clips import add_sound, mux_clip, set_display_matrix

SIZE = (240, 160)


def box(index: int) -> tuple[float, float, float, float]:
    return 40.0 + index, 30.0, 120.0 + index, 110.0


def picture(index: int) -> np.ndarray:
    return draw_dots(*SIZE, [dots_in(box(index))], sigma=2.5)


BLACK = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)


class CoreModel(DotModel):
    """Looks at the bright middle of dots only: a video's compression smears their colors."""

    def predict_landmarks(self, images, batch_size=32):
        images = np.asarray(images, np.float64)
        half = images.max(axis=(1, 2), keepdims=True) / 2
        return super().predict_landmarks(2 * np.maximum(images - half, 0), batch_size)


class DotDetector:
    """Finds the face around the dots of an image, and none in a dark one."""

    def __init__(self, **options) -> None: ...

    def load(self) -> None: ...

    def __call__(self, image):
        if image.max() < 60:
            return []
        # Its box runs from the leftmost and uppermost dots' shares of the box (see `dots_in`).
        bright = np.argwhere(image.max(axis=-1) > 100)
        (y0, x0), (_, x1) = bright.min(axis=0), bright.max(axis=0)
        side = (x1 - x0) / 0.42
        left, top = x0 - 0.3 * side, y0 - 0.35 * side
        return [detection.Detection((left, top, left + side, top + side), 0.9)]


@pytest.fixture(autouse=True)
def network(monkeypatch) -> list[str]:
    """Puts the stand-ins in the place of preset and detector; gives the presets asked for."""
    asked: list[str] = []

    def from_preset(name, detector="auto", runtime="auto", flip_test=False):
        asked.append(name)
        model = LeaningModel() if name == "leaning" else CoreModel()
        return inference.FaceAligner(model, detector, flip_test=flip_test)

    monkeypatch.setattr(inference.FaceAligner, "from_preset", from_preset)
    monkeypatch.setattr(detection, "BlazeFaceDetector", DotDetector)
    return asked


def save_folder(folder: Path, images) -> Path:
    folder.mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"f{index:03d}.png")
    return folder


def save_video(path: Path, images) -> Path:
    with video_writer(path, 20, SIZE) as writer:
        for image in images:
            writer.write(image)
    return path


def frames_of(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["frames"]


def test_a_video_gives_all_its_files(tmp_path, capsys, network):
    source = save_video(tmp_path / "clip.mp4", [picture(i) for i in range(12)])
    out = tmp_path / "out"
    out.mkdir()
    names = ["o.mp4", "f.json", "t.csv", "c.json"]
    options = ["--output", "--json", "--csv", "--coco"]
    words = [w for o, n in zip(options, names, strict=True) for w in (o, str(out / n))]
    assert main(["video", str(source), *words, "--no-smooth"]) == 0
    assert sorted(os.listdir(out)) == sorted(names)
    frames = frames_of(out / "f.json")
    assert [frame["frame"] for frame in frames] == list(range(12))
    np.testing.assert_allclose([f["time"] for f in frames], np.arange(12) / 20, atol=2e-3)
    for index, frame in enumerate(frames):
        (face,) = frame["faces"]
        assert face["id"] == 0
        # The video's compression moves colors by a good part of a pixel.
        np.testing.assert_allclose(face["landmarks"], dots_in(box(index)), atol=1.5)
    with (out / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["frame"] for row in rows] == [str(i) for i in range(12)]
    assert float(rows[5]["x1"]) == frames[5]["faces"][0]["landmarks"][1][0]
    record = json.loads((out / "c.json").read_text())
    assert len(record["images"]) == len(record["annotations"]) == 12
    drawn = list(VideoReader(out / "o.mp4"))
    assert len(drawn) == 12 and drawn[0].image.shape == (160, 240, 3)
    assert np.abs(drawn[6].image.astype(int) - picture(6)).max() > 50
    captured = capsys.readouterr()
    assert "1 face in 12 frames" in captured.out and captured.err == ""
    assert network == ["sat1_cab_mobile"]


def test_frames_of_a_folder_are_exact_and_smoothing_is_on_by_default(tmp_path):
    source = save_folder(tmp_path / "frames", [picture(i // 4) for i in range(10)])
    raw, smooth = tmp_path / "raw.jsonl", tmp_path / "smooth.jsonl"
    command = ["video", str(source), "--frame-rate", "10", "--json"]
    assert main([*command, str(raw), "--no-smooth"]) == 0
    assert main([*command, str(smooth)]) == 0
    lines = [list(map(json.loads, path.read_text().splitlines())) for path in (raw, smooth)]
    assert lines[0][0]["frame_rate"] == 10 and lines[0][-1] == {"num_frames": 10, "complete": True}
    points = [[line["faces"][0]["landmarks"] for line in part[1:-1]] for part in lines]
    for index, landmarks in enumerate(points[0]):
        np.testing.assert_allclose(landmarks, dots_in(box(index // 4)), atol=0.4)
    assert np.abs(np.subtract(*points)).max() > 0.05


def test_with_the_mirror_image_a_lean_to_one_side_cancels(tmp_path):
    source = save_folder(tmp_path / "frames", [picture(0)] * 3)
    options = ["--preset", "leaning", "--no-smooth", "--json"]
    assert main(["video", str(source), *options, str(tmp_path / "plain.json")]) == 0
    assert main(["video", str(source), "--flip-test", *options, str(tmp_path / "both.json")]) == 0
    for name, least, most in (("plain", 0.8, 10.0), ("both", 0.0, 0.25)):
        for frame in frames_of(tmp_path / f"{name}.json"):
            (face,) = frame["faces"]
            lean = np.array(face["landmarks"]) - dots_in(box(0))
            assert (least <= np.abs(lean[:, 0])).all() and (np.abs(lean[:, 0]) <= most).all()


def test_a_period_without_a_face_is_reported_and_is_not_an_error(tmp_path, capsys):
    images = [picture(0)] * 3 + [BLACK] * 4 + [picture(0)] * 3 + [BLACK] * 2
    source, out = save_folder(tmp_path / "frames", images), tmp_path / "f.json"
    assert main(["video", str(source), "--json", str(out)]) == 0
    assert [len(frame["faces"]) for frame in frames_of(out)] == [1] * 3 + [0] * 4 + [1] * 3 + [
        0
    ] * 2
    text = capsys.readouterr().out
    assert "no face in 6 frames, the longest time frames 3 to 6" in text


@pytest.mark.parametrize("strict", [False, True])
def test_of_a_video_that_is_cut_off_the_beginning_is_kept(strict, tmp_path, capsys):
    source = save_video(tmp_path / "clip.avi", [picture(i) for i in range(30)])
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    out = tmp_path / "f.json"
    command = ["video", str(source), "--json", str(out), *(["--strict"] if strict else [])]
    assert main(command) == (2 if strict else 0)
    record = json.loads(out.read_text())
    count = record["num_frames"]
    assert 3 < count < 28 and len(record["frames"]) == count and record["complete"] is False
    error = capsys.readouterr().err
    assert (
        f"ends after {count} of 30 frames" in error
        and f"; {count} readable frames written" in error
    )
    assert error.count("\n") == 1


def test_a_folder_with_a_broken_image_gives_the_frames_before_it(tmp_path, capsys):
    source = save_folder(tmp_path / "frames", [picture(i) for i in range(5)])
    (source / "f003.png").write_bytes(b"broken")
    out = tmp_path / "f.json"
    assert main(["video", str(source), "--json", str(out)]) == 0
    assert json.loads(out.read_text())["complete"] is False
    assert len(frames_of(out)) == 3
    error = capsys.readouterr().err
    assert "f003.png" in error and "; 3 readable frames written" in error


def test_frames_that_change_their_size_are_tracked_and_reported(tmp_path, capsys):
    larger = draw_dots(480, 320, [dots_in((80.0, 60.0, 240.0, 220.0))], sigma=5)
    source = save_folder(tmp_path / "frames", [picture(0)] * 3 + [larger] * 2)
    out, drawn = tmp_path / "f.json", tmp_path / "o.avi"
    assert main(["video", str(source), "--json", str(out), "-o", str(drawn)]) == 0
    frames = frames_of(out)
    assert [frame.get("image_size") for frame in frames] == [None] * 3 + [[480, 320]] * 2
    np.testing.assert_allclose(
        frames[4]["faces"][0]["landmarks"], dots_in((80.0, 60.0, 240.0, 220.0)), atol=0.6
    )
    assert "from frame 3 on, frames are 480x320 instead of 240x160" in capsys.readouterr().err
    assert {frame.image.shape for frame in VideoReader(drawn)} == {(160, 240, 3)}


def write_no_frames(path: Path) -> None:
    save_video(path, [])


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (write_no_frames, "contains no readable frame"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_bytes(b"text " * 99), "cannot be read as a video"),
        (lambda path: None, "cannot be opened (No such file or directory)"),
    ],
)
def test_what_is_not_a_video_is_one_line_and_exit_code_2(make, complaint, tmp_path, capfd, network):
    source, out = tmp_path / "clip.avi", tmp_path / "f.json"
    make(source)
    assert main(["video", str(source), "--json", str(out)]) == 2
    error = capfd.readouterr().err
    assert complaint in error and error.count("\n") == 1
    assert not out.exists() and network == []


def test_unusable_outputs_are_refused_before_any_work(tmp_path, capsys, network):
    source = save_folder(tmp_path / "frames", [picture(0)])
    for words, complaint in (
        ([], "nothing to write"),
        (["--json", str(tmp_path / "f.txt")], "f.txt: give a name that ends in .json or .jsonl"),
        (["--output", str(tmp_path / "o.gif")], "o.gif: give a name that ends in .mp4"),
        (["--json", str(tmp_path / "no" / "f.json")], "there is no such folder"),
        (["--json", str(tmp_path / "a.json"), "--coco", str(tmp_path / "a.json")], "is also anoth"),
    ):
        assert main(["video", str(source), *words]) == 2
        assert complaint in capsys.readouterr().err
    clip = save_video(tmp_path / "clip.mp4", [picture(0)])
    before = clip.read_bytes()
    assert main(["video", str(clip), "--output", str(clip)]) == 2
    assert "is also the input" in capsys.readouterr().err
    assert clip.read_bytes() == before and network == []


def stop_at(monkeypatch, number: int, error: BaseException) -> None:
    """Raises an error in a tracker's call of a number."""
    update, calls = tracking.FaceTracker.update, []

    def stopped(self, *arguments, **options):
        calls.append(1)
        if len(calls) == number:
            raise error
        return update(self, *arguments, **options)

    monkeypatch.setattr(tracking.FaceTracker, "update", stopped)


def all_files(folder: Path) -> list[str]:
    names = {"--output": "o.mp4", "--json": "f.json", "--csv": "t.csv", "--coco": "c.json"}
    return [word for option, name in names.items() for word in (option, str(folder / name))]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("of the network")])
def test_a_run_that_is_interrupted_keeps_what_is_done(error, tmp_path, monkeypatch, capsys):
    source = save_folder(tmp_path / "frames", [picture(i) for i in range(6)])
    out = tmp_path / "out"
    out.mkdir()
    stop_at(monkeypatch, 4, error)
    command = ["video", str(source), *all_files(out)]
    if isinstance(error, KeyboardInterrupt):
        assert main(command) == 130
    else:
        with pytest.raises(RuntimeError):
            main(command)
    assert sorted(os.listdir(out)) == ["c.json", "f.json", "o.mp4", "t.csv"]
    record = json.loads((out / "f.json").read_text())
    assert (record["num_frames"], record["complete"], len(record["frames"])) == (3, False, 3)
    assert len(list(VideoReader(out / "o.mp4"))) == 3
    assert len(json.loads((out / "c.json").read_text())["images"]) == 3
    assert (out / "t.csv").read_text().count("\n") == 4
    assert "1 face in 3 frames" in capsys.readouterr().out


def test_the_sound_stays_and_what_cannot_stay_is_said(tmp_path, capsys):
    save_video(tmp_path / "silent.mp4", [picture(i) for i in range(5)])
    source = add_sound(tmp_path / "in.mp4", tmp_path / "silent.mp4", "aac")
    for name, kept in (("o.mp4", True), ("o.avi", False)):
        assert main(["video", str(source), "--output", str(tmp_path / name)]) == 0
        message = f"{tmp_path / name}: has no sound, since aac cannot be stored in .avi"
        assert (message in capsys.readouterr().err) != kept
        with av.open(str(tmp_path / name)) as container:
            assert len(container.streams.audio) == kept
    rate = ["--frame-rate", "10"]
    assert main(["video", str(source), "--output", str(tmp_path / "o.mp4"), *rate]) == 0
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert not container.streams.audio


def test_control_c_while_files_are_written_waits_for_the_frame(tmp_path, monkeypatch):
    source = save_folder(tmp_path / "frames", [picture(i) for i in range(5)])
    out = tmp_path / "out"
    out.mkdir()
    write, calls = VideoWriter.write, []

    def pressed(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        write(self, *arguments)

    monkeypatch.setattr(VideoWriter, "write", pressed)
    assert main(["video", str(source), *all_files(out)]) == 130
    record = json.loads((out / "f.json").read_text())
    assert (record["num_frames"], record["complete"], len(record["frames"])) == (3, False, 3)
    assert len(list(VideoReader(out / "o.mp4"))) == 3


def test_a_run_that_is_interrupted_at_once_leaves_nothing(tmp_path, monkeypatch):
    source = save_folder(tmp_path / "frames", [picture(0)])
    out = tmp_path / "out"
    out.mkdir()
    stop_at(monkeypatch, 1, KeyboardInterrupt())
    assert main(["video", str(source), *all_files(out)]) == 130
    assert os.listdir(out) == []


def test_a_file_that_cannot_be_written_does_not_end_the_others(tmp_path, monkeypatch, capsys):
    source = save_folder(tmp_path / "frames", [picture(i) for i in range(6)])
    out = tmp_path / "out"
    out.mkdir()
    write = VideoWriter.write

    def full(self, *arguments):
        if self.num_written == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, *arguments)

    monkeypatch.setattr(VideoWriter, "write", full)
    assert main(["video", str(source), *all_files(out)]) == 2
    assert sorted(os.listdir(out)) == ["c.json", "f.json", "t.csv"]
    record = json.loads((out / "f.json").read_text())
    assert record["complete"] is True and len(record["frames"]) == 6
    captured = capsys.readouterr()
    assert "o.mp4: cannot be written (No space left on device)" in captured.err
    assert "o.mp4" not in captured.out and "f.json" in captured.out
    # Where nothing else is written, the run ends at once.
    capsys.readouterr()
    assert main(["video", str(source), "--output", str(out / "o.mp4")]) == 2
    assert len(os.listdir(out)) == 3
    assert "No space left on device" in capsys.readouterr().err


def test_times_of_an_uneven_video_come_through_to_all_files(tmp_path, capsys):
    times = [0.0, 0.04, 0.1, 0.5, 1.5, 1.6]
    images = [picture(i) for i in range(6)]
    source = mux_clip(tmp_path / "v.mkv", times, images=images, encode={"crf": "10"})
    out = tmp_path / "out"
    out.mkdir()
    assert main(["video", str(source), *all_files(out), "--strict"]) == 0
    assert capsys.readouterr().err == ""
    record = json.loads((out / "f.json").read_text())
    assert record["complete"] is True
    assert [f["time"] for f in record["frames"]] == pytest.approx(times, abs=1e-3)
    drawn = list(VideoReader(out / "o.mp4"))
    assert [f.time for f in drawn] == pytest.approx(times, abs=1e-3)
    assert main(["video", str(source), "--output", str(out / "o.avi")]) == 0
    assert "the frames of .avi have equal distances in time" in capsys.readouterr().err


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".avi"])
def test_a_turned_video_of_odd_size_is_drawn_upright_at_its_size(ending, tmp_path):
    # The face stands on its side in the file: a quarter turn clockwise makes it upright.
    images = [np.rot90(picture(i)[:159]).copy() for i in range(3)]
    source = mux_clip(
        tmp_path / "v.mp4", np.arange(3) / 25, pixels="yuv444p", images=images, encode={"crf": "5"}
    )
    set_display_matrix(source, 0, 1, -1, 0)
    out, drawn = tmp_path / "f.json", tmp_path / f"o{ending}"
    command = ["video", str(source), "--json", str(out), "-o", str(drawn), "--no-smooth"]
    assert main(command) == 0
    record = json.loads(out.read_text())
    assert record["image_size"] == [240, 159]
    for index, item in enumerate(record["frames"]):
        (face,) = item["faces"]
        np.testing.assert_allclose(face["landmarks"], dots_in(box(index)), atol=1.5)
    with av.open(str(drawn)) as container:
        (first, *_) = container.decode(video=0)
        assert (first.width, first.height, first.rotation) == (240, 159, 0)
    shown = next(iter(VideoReader(drawn))).image
    assert np.abs(shown.astype(int) - picture(0)[:159]).mean() < 12


def test_without_pyav_folders_work_and_files_name_what_to_install(tmp_path, monkeypatch, capsys):
    clip = save_video(tmp_path / "clip.mp4", [picture(0)])
    folder = save_folder(tmp_path / "frames", [picture(0)])
    out = tmp_path / "f.json"
    monkeypatch.setitem(sys.modules, "av", None)
    assert main(["video", str(folder), "--json", str(out)]) == 0
    assert len(frames_of(out)) == 1
    capsys.readouterr()
    for words in ([str(clip), "--json", str(out)], [str(folder), "-o", str(tmp_path / "o.mp4")]):
        assert main(["video", *words]) == 2
        error = capsys.readouterr().err
        assert 'pip install "keras_facealign[video]"' in error and error.count("\n") == 1
