"""`keras-facealign scheme` on a drawn set of labels."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from keras_facealign.cli import main
from keras_facealign.landmarks import read_scheme
from tests.landmarks.mean_faces import faces

NAMES = ["brow", "left_eye", "right_eye", "nose", "mouth_a", "mouth_b"]
# Corners of eyes and mouth, and the nose, of the 68.
SHAPE = faces("ibug68")[[27, 45, 36, 30, 48, 54], :2]


@pytest.fixture
def labels(tmp_path):
    return write_labels(tmp_path)


def write_labels(folder, count=6, names=NAMES):
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for index in range(count):
        file_name = f"{index}.png"
        Image.fromarray(np.full((80, 80, 3), 90, np.uint8)).save(folder / file_name)
        points = SHAPE / np.ptp(SHAPE, axis=0).max() * rng.uniform(25, 40) + 40
        keypoints = np.column_stack([points.round(2), np.full(len(points), 2)])
        images.append({"id": index, "file_name": file_name, "width": 80, "height": 80})
        annotations.append(
            {"image_id": index, "category_id": 1, "keypoints": keypoints.ravel().tolist()}
        )
    category = {"id": 1, "keypoints": names, "skeleton": [[2, 4], [4, 3]]}
    content = {"images": images, "annotations": annotations, "categories": [category]}
    path = folder / "labels.json"
    path.write_text(json.dumps(content))
    return path


def test_scheme_and_picture_are_written(labels, tmp_path, capsys):
    assert main(["scheme", str(labels), "--output", str(tmp_path / "my.yaml")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "6 faces with 6 named landmarks" in printed
    assert "2 mirror pairs, of which 0 doubtful" in printed
    assert "relative to the size of the box" in printed
    scheme = read_scheme(tmp_path / "my.yaml")
    assert scheme.flip_pairs == ((1, 2), (4, 5)) and scheme.lines == ((1, 3, 2),)
    assert scheme.name == "my" and scheme.names == tuple(NAMES)
    with Image.open(tmp_path / "my.png") as picture:
        assert min(picture.size) > 500


@pytest.mark.slow
def test_known_data_sets_and_presets(tmp_path, capsys):
    from tests.models.tiny import fix_weights, tiny_model
    from tests.paths import ROOT

    preset = fix_weights(tiny_model()).save_to_preset(tmp_path / "preset")
    data = ROOT / "tfds_builders" / "face_synthetics" / "dummy_data"
    words = ["scheme", str(data), "--data-set", "face_synthetics", "--name", "synthetic"]
    words += ["--output", str(tmp_path / "s.json"), "--from-preset", str(preset)]
    assert main(words) == 0
    assert f"{preset} finds the face in" in " ".join(capsys.readouterr().out.split())
    scheme = read_scheme(tmp_path / "s.json")
    assert (scheme.name, scheme.num_landmarks) == ("synthetic", 70)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["labels.json", "-o", "my.txt"], "my.txt: give a name that ends in .yaml"),
        (["labels.json", "-o", "none/my.yaml"], "there is no such folder"),
        (["missing.json", "-o", "my.yaml"], "missing.json"),
        (["labels.json", "-o", "my.yaml", "--name", "ibug68"], "the name of another scheme"),
        (["labels.json", "-o", "my.yaml", "--from-preset", "nothing"], "Unknown preset 'nothing'"),
    ],
)
def test_bad_input(labels, words, message, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["scheme", *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "my.yaml").exists()
