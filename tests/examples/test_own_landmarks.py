"""The whole way of own landmarks by commands, on the generated set and a very small network."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from keras_facealign.cli import main
from keras_facealign.data import load
from keras_facealign.inference import FaceAligner
from keras_facealign.landmarks import read_scheme
from keras_facealign.presets import from_preset
from keras_facealign.runtimes import ExportedModel
from keras_facealign.runtimes.metadata import read_metadata
from tests.models.tiny import fix_weights, tiny_model
from tests.paths import ROOT, load_script

SCRIPT = ROOT / "examples" / "own_landmarks.py"


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    return load_script(SCRIPT).make(tmp_path_factory.mktemp("faces"), 24)


@pytest.fixture(scope="module")
def scheme(labels):
    """The file that the command `scheme` writes."""
    path = labels.parent.with_name("my.yaml")
    assert main(["scheme", str(labels), "--output", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def preset(labels, scheme, tmp_path_factory):
    """What `train --from` makes of a preset of 68 landmarks."""
    folder = tmp_path_factory.mktemp("run")
    fix_weights(tiny_model()).save_to_preset(folder / "known")
    assert train(labels, scheme, folder, batch_size=2) == 0
    return folder / "run" / "preset"


def train(labels, scheme, folder, batch_size):
    """Trains from the preset `known` of a folder into its `run`; the command's exit code."""
    words = ["train", str(labels), "--from", str(folder / "known"), "--scheme", str(scheme)]
    words += ["--output", str(folder / "run"), "--epochs", "1", "--head-epochs", "0", "--no-jit"]
    return main([*words, "--batch-size", str(batch_size), "--learning-rate", "0.01"])


def test_pictures_and_labels():
    """Labels are where the photo's are: warped, they follow the warped picture."""
    script = load_script(SCRIPT)
    photo = np.asarray(Image.open(script.PHOTO))
    # Marks at the labels instead of a photo.
    marked = np.zeros_like(photo)
    for x, y in script.POINTS.values():
        marked[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2] = 255
    picture, points = script.warped(marked, [3, 1], [3, 1, 2])
    for x, y in points:
        around = picture[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4, 0]
        assert around.max() > 90, (x, y)
    away = picture[: int(points[:, 1].min()) - 12]
    assert away.max() < 60


def test_labels_are_read(labels):
    found = load(labels)
    assert (len(found), found.num_landmarks) == (24, 21)
    hidden = np.stack([face.visibility for face in found.faces]) == 1
    assert hidden.any() and hidden.mean() < 0.3
    assert found.groups is not None and len(set(found.groups)) == 12


def test_scheme_tells_mirror_pairs(scheme):
    made = read_scheme(scheme)
    names = list(made.names)
    expected = {
        tuple(sorted((k, names.index(name.replace("right", "left")))))
        for k, name in enumerate(names)
        if "right" in name
    }
    assert set(made.flip_pairs) == expected and len(made.edges) == len(load_script(SCRIPT).SKELETON)


@pytest.mark.slow
def test_training_holds_faces_out_and_is_not_repeated(preset, labels, scheme, capsys):
    model = from_preset(preset)
    assert model.num_landmarks == 21
    assert model.scheme.flip_pairs == read_scheme(scheme).flip_pairs
    metadata = json.loads((preset / "metadata.json").read_text())
    assert metadata["best_epoch"] == 1
    folder = preset.parents[1]
    assert train(labels, scheme, folder, batch_size=2) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Holding 6 faces of 24 out, by group" in printed and "is finished" in printed
    assert train(labels, scheme, folder, batch_size=3) == 2
    assert "holds a finished run with other settings" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_evaluate(preset, labels, tmp_path):
    words = ["evaluate", str(preset), "--data", str(labels), "--output", str(tmp_path / "report")]
    assert main(words) == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["images"] == 24 and report["normalizer"] == "box_size"
    assert "report.html" in {path.name for path in (tmp_path / "report").iterdir()}
    scheme = from_preset(preset).scheme
    assert set(report["regions"]) == set(scheme.regions)
    words = ["evaluate", "--predictions", str(tmp_path / "report" / "predictions.npz")]
    words += ["--data", str(labels), "--output", str(tmp_path / "again")]
    assert main(words) == 0
    again = json.loads((tmp_path / "again" / "report.json").read_text())
    assert again["nme"] == report["nme"]


@pytest.mark.slow
def test_calibrate(preset, labels, capsys):
    assert main(["calibrate", str(preset), "--data", str(labels)]) == 0
    model = from_preset(preset)
    assert model.calibration is not None and model.calibration.scheme == model.scheme
    assert main(["calibrate", str(preset), "--data", str(labels), "--check-only"]) == 0


@pytest.mark.slow
def test_export_align_and_video(preset, labels, tmp_path):
    model = from_preset(preset)
    for kind in ("tflite", "onnx"):
        file = tmp_path / f"own.{kind}"
        assert main(["export", str(preset), "--output", str(file), "--format", kind]) == 0
        about = read_metadata(file)
        assert about["own_scheme"]["num_landmarks"] == 21
        assert about["edges"] == [list(edge) for edge in model.scheme.edges]
        exported = ExportedModel(file)
        assert exported.scheme == model.scheme
    photos = sorted(str(path) for path in labels.parent.glob("face_*.png"))[:2]
    for name, formats in ((str(preset), "json"), (str(tmp_path / "own.tflite"), "coco")):
        output = tmp_path / formats
        words = ["align", *photos, "--preset", name, "--output", str(output), "--format", formats]
        assert main([*words, "--flip-test"]) == 0
    face = json.loads(next((tmp_path / "json").glob("face_0_000_face0.json")).read_text())
    assert len(face["landmarks"]) == 21 and face["scheme"] == model.scheme.name
    (coco,) = (tmp_path / "coco").glob("*.json")
    category = json.loads(coco.read_text())["categories"][0]
    assert category["keypoints"] == list(model.scheme.names)
    faces = FaceAligner(model, None).align(photos[0], boxes=[60, 60, 200, 200])
    assert faces[0].landmarks.shape == (21, 2)
    track, drawn = tmp_path / "track.json", tmp_path / "drawn.mp4"
    words = ["video", str(labels.parent), "--preset", str(preset), "--json", str(track)]
    assert main([*words, "--output", str(drawn)]) == 0
    assert json.loads(track.read_text())["scheme"] == model.scheme.name
