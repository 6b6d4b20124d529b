"""JSON and JSON Lines: every field, and documents that are always valid."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from keras_facealign.formats import write_face
from keras_facealign.inference import Face
from keras_facealign.inference.head_pose import rotation_matrix
from keras_facealign.landmarks import mean_face
from tests.formats.sample_faces import FRAMES, make_face, write_frames


@pytest.fixture
def face() -> Face:
    return make_face()


def test_json_holds_everything(face, tmp_path):
    path = write_face(tmp_path / "f.json", face, image="a/b.jpg", image_size=(640, 480))
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["image"] == "a/b.jpg"
    assert record["image_size"] == [640, 480]
    assert record["scheme"] == "ibug68"
    assert record["score"] == 0.875
    assert record["box"] == [1.5, 2, 300, 400]
    np.testing.assert_allclose(record["landmarks"], face.landmarks, atol=6e-4)
    np.testing.assert_allclose(record["confidence"], face.confidence, atol=6e-5)
    assert (record["roll"], record["reliable"]) == (0.0, True)
    leaning = dataclasses.replace(face, roll=-33.333, reliable=False)
    other = json.loads(write_face(tmp_path / "g.json", leaning).read_text())
    assert "image" not in other
    assert (other["roll"], other["reliable"]) == (-33.33, False)


def test_json_of_ibugs_points_has_the_pose(tmp_path):
    seen = mean_face() @ rotation_matrix(20, -10, 5).T
    face = Face((seen[:, :2] * 9 + 300).astype(np.float32), np.ones(68, np.float32), np.ones(4))
    record = json.loads(write_face(tmp_path / "f.json", face).read_text())
    found = [record["pose"][name] for name in ("yaw", "pitch", "roll")]
    np.testing.assert_allclose(found, (20, -10, 5), atol=0.5)
    for scheme, other in (
        ("menpo68", face),  # no scheme of ours: its points could be any
        ("ibug68", Face(np.full((68, 2), 7.0, np.float32), face.confidence, face.box)),
        ("ibug68", Face(face.landmarks, np.zeros(68, np.float32), face.box)),
    ):
        path = write_face(tmp_path / "g.json", other, scheme=scheme)
        assert "pose" not in json.loads(path.read_text())


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
    path = write_frames(tmp_path / "f.json", complete=complete)
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
    path = write_frames(tmp_path / "f.jsonl", complete=False)
    head, *frames, end = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert head["video"] == "clip é.mp4" and head["format"] == "keras-facealign video 1"
    check_frames(frames)
    assert end == {"num_frames": 3, "complete": False}
