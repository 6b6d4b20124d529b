"""Files of a video's landmarks: valid at the end, a line a frame, nothing half written."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import tracemalloc

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.formats.frames import VideoInfo, frame_writer
from keras_facealign.inference import HeadPose
from keras_facealign.video import TrackedFace

INFO = VideoInfo("clip é.mp4", 25.0, (640, 480))


def face(seed: int, number: int, posed: bool = True) -> TrackedFace:
    rng = np.random.default_rng(seed)
    return TrackedFace(
        landmarks=rng.uniform(0, 500, (68, 2)).astype(np.float32),
        confidence=rng.uniform(0, 1, 68).astype(np.float32),
        box=np.array([1.5, 2, 300, 400], np.float32),
        score=0.875,
        id=number,
        pose=HeadPose(12.345, -6.5, 0.25, np.eye(3), 0.1) if posed else None,
    )


FRAMES = [[face(0, 4), face(1, 9, posed=False)], [], [face(2, 9)]]


def write(path, frames=FRAMES, complete=True):
    with frame_writer(path, INFO) as writer:
        for index, faces in enumerate(frames):
            size = (640, 480) if index < 2 else (320, 240)
            writer.write(index, index / 25, size, faces)
        writer.finish(len(frames), complete)
    return path


def check_frames(records) -> None:
    assert [record["frame"] for record in records] == [0, 1, 2]
    assert [record["time"] for record in records] == [0.0, 0.04, 0.08]
    assert [len(record["faces"]) for record in records] == [2, 0, 1]
    assert [record.get("image_size") for record in records] == [None, None, [320, 240]]
    for record, faces in zip(records, FRAMES, strict=True):
        for got, expected in zip(record["faces"], faces, strict=True):
            assert got["id"] == expected.id and got["score"] == 0.875
            assert got["box"] == [1.5, 2, 300, 400]
            np.testing.assert_allclose(got["landmarks"], expected.landmarks, atol=6e-4)
            np.testing.assert_allclose(got["confidence"], expected.confidence, atol=6e-5)
    first, second = records[0]["faces"]
    assert first["pose"] == {"yaw": 12.35, "pitch": -6.5, "roll": 0.25, "residual": 0.1} or (
        first["pose"]["yaw"] == pytest.approx(12.345, abs=0.006)
    )
    assert "pose" not in second


@pytest.mark.parametrize("complete", [True, False])
def test_json_is_one_document(complete, tmp_path):
    path = write(tmp_path / "f.json", complete=complete)
    record = json.loads(path.read_text(encoding="utf-8"))
    check_frames(record.pop("frames"))
    assert record == {
        "format": "keras-facealign video 1",
        "video": "clip é.mp4",
        "frame_rate": 25.0,
        "image_size": [640, 480],
        "scheme": "ibug68",
        "num_frames": 3,
        "complete": complete,
    }


def test_json_lines_have_the_video_first_and_the_end_last(tmp_path):
    path = write(tmp_path / "f.jsonl", complete=False)
    head, *frames, end = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert head["video"] == "clip é.mp4" and head["format"] == "keras-facealign video 1"
    check_frames(frames)
    assert end == {"num_frames": 3, "complete": False}


def test_csv_has_a_line_for_each_face(tmp_path):
    path = write(tmp_path / "f.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["frame"], row["id"]) for row in rows] == [("0", "4"), ("0", "9"), ("2", "9")]
    faces = [item for frame in FRAMES for item in frame]
    for row, expected in zip(rows, faces, strict=True):
        points = [[float(row[f"x{i}"]), float(row[f"y{i}"])] for i in range(68)]
        np.testing.assert_allclose(points, expected.landmarks, atol=6e-4)
        values = [float(row[f"c{i}"]) for i in range(68)]
        np.testing.assert_allclose(values, expected.confidence, atol=6e-5)
        assert float(row["box_x1"]) == 300
    assert float(rows[0]["pitch"]) == -6.5 and rows[1]["pitch"] == ""


@pytest.mark.parametrize("ending", ["json", "jsonl", "csv"])
def test_no_frames_and_a_failure(ending, tmp_path):
    path = write(tmp_path / f"f.{ending}", frames=[])
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") >= 1
    if ending == "json":
        assert json.loads(text)["frames"] == []
    with pytest.raises(RuntimeError), frame_writer(path, INFO) as writer:
        writer.write(0, 0.0, (640, 480), FRAMES[0])
        raise RuntimeError
    assert path.read_text(encoding="utf-8") == text
    assert os.listdir(tmp_path) == [path.name]


def test_memory_does_not_grow_with_the_video(tmp_path):
    def peak(count: int) -> int:
        tracemalloc.start()
        write(tmp_path / "f.json", [FRAMES[2]] * count)
        reached = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return reached

    peak(5)
    assert peak(400) < 1.5 * peak(40)


def test_bad_input(tmp_path):
    with (
        pytest.raises(FaceAlignError, match=r"ending '\.xml'; use \.json"),
        frame_writer(tmp_path / "f.xml", INFO),
    ):
        pass
    with (
        pytest.raises(FaceAlignError, match="cannot be written"),
        frame_writer(tmp_path / "nowhere" / "f.json", INFO),
    ):
        pass


def test_csv_has_columns_for_what_calibrated_presets_add(tmp_path):
    sigma, visibility = np.linspace(0.5, 4, 68), np.linspace(0, 1, 68)
    sure = dataclasses.replace(face(0, 1), sigma=sigma, visibility=visibility)
    path = write(tmp_path / "f.csv", [[], [sure], [sure]])
    with path.open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert list(first)[-5:] == ["x67", "y67", "c67", "s67", "v67"]
    for i in range(68):
        assert float(second[f"s{i}"]) == pytest.approx(sigma[i], abs=6e-4)
        assert float(second[f"v{i}"]) == pytest.approx(visibility[i], abs=6e-5)
        assert float(second[f"y{i}"]) == pytest.approx(float(sure.landmarks[i, 1]), abs=6e-4)
    header = write(tmp_path / "g.csv", [[]]).read_text().splitlines()
    assert len(header) == 1 and header[0].endswith("x67,y67,c67")
