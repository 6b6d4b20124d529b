"""`keras-facealign calibrate` on drawn faces in the layout of MERL-RAV, with a small network."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from keras_facealign.calibration import read_calibration, weights_fingerprint
from keras_facealign.cli import main
from keras_facealign.data.partition import part_of
from keras_facealign.models import FaceAlignModel
from keras_facealign.presets import from_preset, save_to_preset
from tests.cli.test_scheme import NAMES, write_labels
from tests.models.tiny import architecture, fix_weights, tiny_model
from tfds_builders.ibug_300w.make_dummy_data import template


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eight faces to calibrate on and eight to validate on, and three of the rest."""
    root = tmp_path_factory.mktemp("merl_rav")
    folder = root / "frontal" / "trainset"
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    wanted = {"calibration": 8, "validation": 8, "train": 3}
    for i in range(10_000):
        part = part_of(f"image{i:05}")
        if not wanted[part]:
            continue
        wanted[part] -= 1
        points = template() * rng.uniform(20, 25) + 40 + rng.uniform(-3, 3, 2)
        image = rng.integers(0, 256, (80, 80, 3)).astype("uint8")
        Image.fromarray(image).save(folder / "images" / f"image{i:05}.png")
        marks = rng.choice([0, 1, 2], 68, p=[0.1, 0.2, 0.7])
        signs = np.where(marks == 1, -1, 1)[:, None]
        points = np.where(marks[:, None] == 0, -1.0, signs * (points + 1))
        lines = "\n".join(f"{x:.3f} {y:.3f}" for x, y in points)
        text = f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n"
        (folder / "labels" / f"image{i:05}.pts").write_text(text)
        if not any(wanted.values()):
            break
    return root


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return save_to_preset(fix_weights(tiny_model()), tmp_path_factory.mktemp("preset") / "tiny")


@pytest.fixture
def preset(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "tiny")


def test_calibrates_reports_and_checks(preset, data, tmp_path, capsys):
    words = ["calibrate", str(preset), "--data", str(data), "--no-register"]
    assert main([*words, "--report", str(tmp_path / "report")]) == 0
    printed = capsys.readouterr().out
    assert "Expected px" in printed
    assert "AUROC, hidden by the head" in printed
    calibration = read_calibration(preset / "calibration.json")
    assert "8 faces, 32 views" in calibration.fitted_on
    model = from_preset(preset)
    assert calibration.fingerprint == weights_fingerprint(model)
    assert model.calibration is not None
    quality = json.loads((tmp_path / "report" / "quality.json").read_text())
    assert (quality["faces"], quality["views"]) == (8, 32)
    assert Image.open(tmp_path / "report" / "calibration.png").size[0] > 1000

    before = (preset / "calibration.json").read_bytes()
    assert main([*words, "--check-only", "--views", "2", "--without-jaw"]) == 0
    capsys.readouterr()
    assert main([*words, "--check-only", "--views", "2"]) == 0
    assert "19, 38, 0" in capsys.readouterr().out
    check = [*words, "--check-only", "--part", "validation", "--report", str(tmp_path / "again")]
    assert main(check) == 0
    again = json.loads((tmp_path / "again" / "quality.json").read_text())
    differ = {"measured", "fitted_on"}
    assert {k: v for k, v in again.items() if k not in differ} == {
        k: v for k, v in quality.items() if k not in differ
    }
    assert (preset / "calibration.json").read_bytes() == before


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--check-only"], "is not calibrated"),
        (["--check-only", "--part", "test"], "no part 'test'"),
        (["--part", "validation"], "needs --check-only"),
        (["--data-set", "merl"], "There is no data set 'merl'"),
        (["--split", "val"], "no split 'val'"),
        (["--limit", "1", "--views", "2"], "There are 1"),
    ],
)
def test_what_cannot_be_done_is_one_line(preset, data, capsys, more, message):
    words = ["calibrate", str(preset), "--data", str(data), "--no-register", *more]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (preset / "calibration.json").exists()


def write_noisy_labels(folder):
    labels = write_labels(folder, count=60)
    rng = np.random.default_rng(1)
    for index in range(60):
        noise = rng.integers(0, 256, (80, 80, 3)).astype("uint8")
        Image.fromarray(noise).save(folder / f"{index}.png")
    return labels


def test_labels_without_hidden_points_calibrate_sigma_alone(tmp_path, capsys):
    scheme = {"name": "mine", "names": NAMES, "flip_pairs": [[1, 2], [4, 5]]}
    model = fix_weights(FaceAlignModel(architecture(num_landmarks=6), scheme=scheme))
    preset = save_to_preset(model, tmp_path / "own")
    labels = write_noisy_labels(tmp_path)
    content = json.loads(labels.read_text())
    for annotation in content["annotations"][::7]:
        annotation["keypoints"][2] = 0  # a point that was not labeled, which is not hidden
    labels.write_text(json.dumps(content))
    words = ["calibrate", str(preset), "--data", str(labels), "--views", "8"]
    assert main(words) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "standard deviations are calibrated, visibility is not." in printed
    assert "AUROC" not in printed
    assert not read_calibration(preset / "calibration.json").has_visibility
    crops = np.zeros((1, model.input_size, model.input_size, 3), np.uint8)
    outputs = from_preset(preset).predict_outputs(crops)
    assert "sigma" in outputs and "visibility" not in outputs

    # Visibility that these weights have stays.
    for annotation in content["annotations"]:
        annotation["keypoints"][5] = 1
    labels.write_text(json.dumps(content))
    assert main(words) == 0
    assert "AUROC" in capsys.readouterr().out
    before = read_calibration(preset / "calibration.json")
    write_noisy_labels(tmp_path)
    assert main(words) == 0
    assert "visibility stays as it was" in " ".join(capsys.readouterr().out.split())
    after = read_calibration(preset / "calibration.json")
    np.testing.assert_array_equal(after.bias, before.bias)
