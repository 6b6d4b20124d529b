"""COCO files follow COCO's own rules."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.formats import VideoInfo
from keras_facealign.formats.coco import coco_category, coco_writer
from keras_facealign.inference import Face
from keras_facealign.landmarks import COFW29, IBUG68, SCHEMES
from keras_facealign.video import TrackedFace


def face(seed: int, count: int = 68, kind=Face, **extra):
    rng = np.random.default_rng(seed)
    return kind(
        landmarks=rng.uniform(0, 400, (count, 2)).astype(np.float32),
        confidence=rng.uniform(0, 1, count).astype(np.float32),
        box=np.array([0, 0, 400, 400], np.float32),
        score=0.75,
        **extra,
    )


def check(record, scheme) -> None:
    """Checks what readers of COCO keypoints rely on."""
    assert {"info", "licenses", "images", "annotations", "categories"} <= set(record)
    for part in ("images", "annotations", "categories"):
        numbers = [item["id"] for item in record[part]]
        assert len(set(numbers)) == len(numbers) and all(isinstance(n, int) for n in numbers)
    (category,) = record["categories"]
    assert len(category["keypoints"]) == len(set(category["keypoints"])) == scheme.num_landmarks
    for a, b in category["skeleton"]:
        assert 1 <= a <= scheme.num_landmarks and 1 <= b <= scheme.num_landmarks and a != b
    images = {item["id"] for item in record["images"]}
    for item in record["annotations"]:
        assert item["image_id"] in images and item["category_id"] == category["id"]
        assert len(item["keypoints"]) == 3 * scheme.num_landmarks
        flags = item["keypoints"][2::3]
        assert set(flags) <= {0, 1, 2}
        assert item["num_keypoints"] == sum(flag > 0 for flag in flags)
        x, y, width, height = item["bbox"]
        assert item["area"] == pytest.approx(width * height, abs=0.5)
        assert x == pytest.approx(min(item["keypoints"][0::3]), abs=2e-3)
        assert y + height == pytest.approx(max(item["keypoints"][1::3]), abs=2e-3)
        assert item["iscrowd"] == 0 and item["segmentation"] == []


def test_images_and_their_faces(tmp_path):
    path = tmp_path / "faces.json"
    faces = [face(0), face(1), face(2)]
    with coco_writer(path, min_confidence=0.5) as writer:
        writer.add("a/é.jpg", (640, 480), faces[:2])
        writer.add("b.jpg", (320, 240), [])
        writer.add("c.jpg", (800, 600), faces[2:])
        assert (writer.num_images, writer.num_faces) == (3, 3)
    record = json.loads(path.read_text(encoding="utf-8"))
    check(record, IBUG68)
    assert [image["file_name"] for image in record["images"]] == ["a/é.jpg", "b.jpg", "c.jpg"]
    assert record["images"][2]["width"] == 800 and record["images"][2]["height"] == 600
    assert [item["image_id"] for item in record["annotations"]] == [1, 1, 3]
    for item, expected in zip(record["annotations"], faces, strict=True):
        points = np.array(item["keypoints"]).reshape(68, 3)
        np.testing.assert_allclose(points[:, :2], expected.landmarks, atol=6e-4)
        np.testing.assert_array_equal(points[:, 2] == 2, expected.confidence >= 0.5)
        np.testing.assert_allclose(item["keypoint_scores"], expected.confidence, atol=6e-5)
        assert item["score"] == 0.75 and "track_id" not in item
        assert item["reliable"] is True
    assert os.listdir(tmp_path) == ["faces.json"]


def test_frames_of_a_video(tmp_path):
    path = tmp_path / "clip.json"
    info = VideoInfo("my clip.mp4", 25.0, (640, 480))
    with coco_writer(path, video=info) as writer:
        writer.write(0, 0.0, (640, 480), [face(0, kind=TrackedFace, id=5)])
        writer.write(1, 0.04, (640, 480), [])
        writer.finish(2, True)
    record = json.loads(path.read_text(encoding="utf-8"))
    check(record, IBUG68)
    assert record["videos"] == [{"id": 1, "name": "my clip.mp4"}]
    assert [image["file_name"] for image in record["images"]] == [
        "my clip_000000.jpg",
        "my clip_000001.jpg",
    ]
    assert [(image["video_id"], image["frame_id"]) for image in record["images"]] == [
        (1, 0),
        (1, 1),
    ]
    assert record["annotations"][0]["track_id"] == 5


@pytest.mark.parametrize("name", sorted(SCHEMES))
def test_every_scheme_makes_a_category(name):
    scheme = SCHEMES[name]
    category = coco_category(scheme)
    assert len(set(category["keypoints"])) == scheme.num_landmarks
    assert category["skeleton"] == [[a + 1, b + 1] for a, b in scheme.edges]


def test_keypoints_of_ibug_are_named_by_region():
    names = coco_category(IBUG68)["keypoints"]
    assert names[0] == "jaw_0" and names[30] == "nose_bridge_3" and names[67] == "inner_lip_7"


def test_no_images_and_a_failure(tmp_path):
    path = tmp_path / "faces.json"
    with coco_writer(path, COFW29):
        pass
    record = json.loads(path.read_text(encoding="utf-8"))
    check(record, COFW29)
    assert record["images"] == record["annotations"] == []
    before = path.read_bytes()
    with (
        pytest.raises(FaceAlignError, match=r"a\.jpg: landmarks of shape \(68, 2\)"),
        coco_writer(path, COFW29) as writer,
    ):
        writer.add("a.jpg", (640, 480), [face(0)])
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["faces.json"]
