"""`keras-facealign video` from the command line to the files, with a network of known answers."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from keras_facealign import detection, inference
from keras_facealign.cli import main
from keras_facealign.video import VideoReader, tracking, video_writer
from tests.inference.dots import DotModel, LeaningModel, dots_in, draw_dots

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

    def from_preset(name, detector="mtcnn", runtime="auto", flip_test=False):
        asked.append(name)
        model = LeaningModel() if name == "leaning" else CoreModel()
        return inference.FaceAligner(model, detector, flip_test=flip_test)

    monkeypatch.setattr(inference.FaceAligner, "from_preset", from_preset)
    monkeypatch.setattr(detection, "MTCNNDetector", DotDetector)
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
    assert f"ends after {count} of 30 frames" in error and "the frames before are written" in error
    assert error.count("\n") == 1


def test_a_folder_with_a_broken_image_gives_the_frames_before_it(tmp_path, capsys):
    source = save_folder(tmp_path / "frames", [picture(i) for i in range(5)])
    (source / "f003.png").write_bytes(b"broken")
    out = tmp_path / "f.json"
    assert main(["video", str(source), "--json", str(out)]) == 0
    assert json.loads(out.read_text())["complete"] is False
    assert len(frames_of(out)) == 3
    error = capsys.readouterr().err
    assert "f003.png" in error and "the 3 frames before are written" in error


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
    cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 20, SIZE).release()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (write_no_frames, "contains no readable frame"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_bytes(b"text " * 99), "cannot be read as a video"),
        (lambda path: None, "there is no such file"),
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


def test_an_interrupted_run_leaves_no_file(tmp_path, monkeypatch):
    source = save_folder(tmp_path / "frames", [picture(i) for i in range(6)])
    out = tmp_path / "out"
    out.mkdir()
    update, calls = tracking.FaceTracker.update, []

    def interrupted(self, *arguments, **options):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return update(self, *arguments, **options)

    monkeypatch.setattr(tracking.FaceTracker, "update", interrupted)
    words = ["-o", str(out / "o.mp4"), "--json", str(out / "f.json"), "--coco", str(out / "c.json")]
    assert main(["video", str(source), *words]) == 130
    assert os.listdir(out) == []
