"""`keras-facealign evaluate` on a made-up copy of 300W, with errors known in closed form.

The pictures are plain: their gray value tells the model, which sees only crops, how many crop
pixels to be wrong by, and the detector where the face is.
"""

import csv
import json
import math
import os

import numpy as np
import pytest
from PIL import Image

from keras_facealign.cli import main
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import CROP_SCALE
from keras_facealign.landmarks import COFW29, IBUG68
from keras_facealign.storage.file_names import unescape_cell

SIZE = 128
# Offsets in crop pixels, one a picture; each is the picture's gray value too.
OFFSETS = (0, 2, 30, 5, 1)


def template():
    """68 points in the crop whose tight square box is centerd and fills it but for the margin."""
    points = np.random.default_rng(7).uniform(-1, 1, (68, 2))
    points[36], points[45] = (-0.6, -0.4), (0.6, -0.4)
    points[[0, 16]] = (-1, -1), (1, 1)
    return (SIZE - 1) / 2 + points * SIZE / CROP_SCALE / 2


class FakeModel:
    """Finds the template, wrong by the crop's brightness in pixels to the right."""

    input_size = SIZE
    num_landmarks = 68
    scheme = IBUG68

    def predict_landmarks(self, images, batch_size=32):
        brightness = np.asarray(images)[:, SIZE // 2, SIZE // 2, 0].astype(float)
        landmarks = template() + np.stack([brightness, 0 * brightness], axis=-1)[:, None]
        return landmarks.astype("float32"), np.ones(landmarks.shape[:2], "float32")


def scale_of(index):
    return 1.0 + 0.5 * index


def expected_nme(index):
    eyes = template()[[36, 45]]
    return 100 * OFFSETS[index] / math.dist(*eyes)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "300w" / "lfpw" / "testset"
    folder.mkdir(parents=True)
    for i, offset in enumerate(OFFSETS):
        points = 200 + 10 * i + (template() - (SIZE - 1) / 2) * scale_of(i)
        Image.new("RGB", (500, 480), (offset,) * 3).save(folder / f"image_{i:04}.png")
        # The files count from 1, as MATLAB does.
        lines = [f"{x:.6f} {y:.6f}" for x, y in points + 1]
        text = "\n".join(["version: 1", "n_points:  68", "{", *lines, "}", ""])
        (folder / f"image_{i:04}.pts").write_text(text)
    return tmp_path / "300w"


@pytest.fixture
def model(monkeypatch):
    def from_preset(name, load_weights=True):
        if name != "good":
            raise FaceAlignError(f"There is no preset {name!r}; choose one of: good.")
        return FakeModel()

    monkeypatch.setattr("keras_facealign.presets.from_preset", from_preset)


def evaluate(data, output, *options):
    return main(["evaluate", "good", "--data", str(data), "--output", str(output), *options])


def test_numbers_and_files(data, model, tmp_path, capsys):
    output = tmp_path / "new" / "results"
    assert evaluate(data, output, "--batch-size", "2") == 0
    assert {path.name for path in output.iterdir()} == {
        "report.json",
        "per_image.csv",
        "predictions.npz",
        "ced.png",
        "worst.png",
        "report.html",
    }
    expected = [expected_nme(i) for i in range(5)]
    report = json.loads((output / "report.json").read_text())
    assert report["nme"]["inter_ocular"]["mean"] == pytest.approx(np.mean(expected), rel=1e-4)
    assert report["nme"]["inter_ocular"]["median"] == pytest.approx(np.median(expected), rel=1e-4)
    assert (report["images"], report["missed"], report["skipped"]) == (5, 0, [])
    assert (report["preset"], report["boxes"]) == ("good", "ground-truth")
    with open(output / "per_image.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file_name"] for row in rows] == [
        f"lfpw/testset/image_{i:04}.png" for i in range(5)
    ]
    found = [float(row["nme_inter_ocular"]) for row in rows]
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)
    with np.load(output / "predictions.npz", allow_pickle=False) as arrays:
        shifts = (arrays["prediction"] - arrays["ground_truth"]).mean(axis=1)
        for i, (dx, dy) in enumerate(shifts):
            assert dx == pytest.approx(OFFSETS[i] * scale_of(i), abs=1e-3)
            assert dy == pytest.approx(0, abs=1e-3)
    for name in ("ced.png", "worst.png"):
        assert Image.open(output / name).size[0] > 300
    printed = capsys.readouterr().out
    assert f"{np.mean(expected):.3f}" in printed
    assert "eye_corner_center" in printed


def test_with_the_mirror_image_the_lean_cancels(data, model, tmp_path, capsys):
    assert evaluate(data, tmp_path / "out", "--flip-test") == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    # The template is not symmetric: half of its distance to its own mirror image remains.
    points = template()
    partner = dict(IBUG68.flip_pairs) | {b: a for a, b in IBUG68.flip_pairs}
    left = [
        math.dist((SIZE - 1 - points[partner.get(k, k)][0], points[partner.get(k, k)][1]), point)
        for k, point in enumerate(points)
    ]
    expected = 100 * np.mean(left) / 2 / math.dist(points[36], points[45])
    assert report["nme"]["inter_ocular"]["mean"] == pytest.approx(expected, rel=1e-4)
    assert report["flip_test"] is True
    legacy = ["--flip-test", "--protocol", "legacy_mxnet"]
    assert evaluate(data, tmp_path / "two", *legacy) == 2
    assert "leave out --flip-test" in capsys.readouterr().err
    kept = ["--predictions", str(tmp_path / "out" / "predictions.npz"), "--flip-test"]
    assert main(["evaluate", *kept, "--output", str(tmp_path / "three")]) == 2
    assert "--flip-test needs a preset" in capsys.readouterr().err


def test_another_data_set_and_labels_of_another_scheme(model, tmp_path, capsys):
    folder = tmp_path / "synthetic"
    folder.mkdir()
    points = 60 + (template() - (SIZE - 1) / 2) * 0.5
    for number in (8, 10):
        Image.new("RGB", (120, 120), (4, 4, 4)).save(folder / f"{number:06}.png")
        np.savetxt(folder / f"{number:06}_ldmks.txt", [*points, (50, 50), (70, 50)])
    options = ["--data-set", "face_synthetics/ibug68", "--split", "held_out"]
    assert evaluate(folder, tmp_path / "out", *options) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    # The template's box is a square of SIZE / CROP_SCALE pixels of the crop.
    assert report["nme"]["box_size"]["mean"] == pytest.approx(400 * CROP_SCALE / SIZE, rel=1e-3)
    assert (report["images"], report["normalizer"]) == (1, "box_size")
    capsys.readouterr()
    assert evaluate(folder, tmp_path / "two", "--data-set", "face_synthetics", *options[2:]) == 2
    assert "has 68 landmarks, the label 70" in capsys.readouterr().err
    assert evaluate(folder, tmp_path / "three", "--data-set", "ibug") == 2
    assert "no data set 'ibug'" in capsys.readouterr().err


def test_detected_boxes(data, model, tmp_path, capsys, monkeypatch):
    def detector(image):
        index = OFFSETS.index(int(image[0, 0, 0]))
        center = 200 + 10 * index
        half = SIZE / CROP_SCALE / 2 * scale_of(index)
        right = (center - half, center - half, center + half, center + half)
        far_off = (400, 400, 450, 450)
        # Picture 1: the face is missed; picture 3: only another face is found.
        return {1: [], 3: [far_off]}.get(index, [far_off, right])

    monkeypatch.setattr(
        "keras_facealign.inference.aligner.get_detector",
        lambda name: {"mtcnn": detector, None: None}[name],
    )
    output = tmp_path / "results"
    assert evaluate(data, output, "--boxes", "mtcnn") == 0
    report = json.loads((output / "report.json").read_text())
    expected = [expected_nme(i) for i in (0, 2, 4)]
    assert report["nme"]["inter_ocular"]["mean"] == pytest.approx(np.mean(expected), rel=1e-4)
    missed = [f"lfpw/testset/image_{i:04}.png" for i in (1, 3)]
    assert (report["images"], report["missed"], report["missed_files"]) == (3, 2, missed)
    row = report["rates"][0]
    assert row["failure_rate"] == pytest.approx(100 / 3)
    assert row["missed_as_failures"]["failure_rate"] == pytest.approx(300 / 5)
    printed = capsys.readouterr().out
    assert "Missed 2 of 5 faces" in printed
    assert missed[0] in printed


def test_broken_files_are_listed_and_stop_nothing(data, model, tmp_path, capsys, caplog):
    (data / "lfpw/testset/image_0002.png").write_bytes(b"not a picture")
    (data / "lfpw/testset/image_0003.pts").write_text("version: 1\nn_points: 68\n{\n}\n")
    output = tmp_path / "results"
    assert evaluate(data, output) == 0
    report = json.loads((output / "report.json").read_text())
    assert report["images"] == 3
    assert len(report["skipped"]) == 2
    printed = capsys.readouterr()
    assert "2 samples could not be used" in printed.out
    # Listed at the end, and not logged as well.
    assert not [record for record in caplog.records if "kipped" in record.getMessage()]
    for name in ("image_0002.png", "image_0003.pts"):
        lines = (printed.out + printed.err).splitlines()
        assert sum(name in line for line in lines) == 1


def test_stopped_run_keeps_what_it_computed(data, model, tmp_path, capsys, monkeypatch):
    calls = []

    def failing(self, images, batch_size=32):
        calls.append(len(images))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return predict(self, images, batch_size)

    predict = FakeModel.predict_landmarks
    output = tmp_path / "results"
    assert evaluate(data, output) == 0
    whole = (output / "predictions.npz").read_bytes()
    monkeypatch.setattr(FakeModel, "predict_landmarks", failing)
    assert evaluate(data, output, "--batch-size", "3") == 130
    # An earlier complete result stays, and the new part lies beside it.
    assert (output / "predictions.npz").read_bytes() == whole
    with np.load(output / "predictions.partial.npz", allow_pickle=False) as arrays:
        assert len(arrays["prediction"]) == 3
    assert "Stopped after 3 of 5 faces" in capsys.readouterr().err
    assert evaluate(data, output) == 0
    assert not (output / "predictions.partial.npz").exists()


def test_prediction_that_is_not_finite_names_the_file(data, model, tmp_path, capsys, monkeypatch):
    def broken(self, images, batch_size=32):
        return np.full((len(images), 68, 2), np.nan, "float32"), np.ones((len(images), 68))

    monkeypatch.setattr(FakeModel, "predict_landmarks", broken)
    assert evaluate(data, tmp_path / "results") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "image_0000.png" in error
    assert "landmark 0 of the prediction is [nan, nan]" in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bad", "--data", "DATA"], "no preset 'bad'"),
        (["good", "--data", "DATA", "--split", "train"], "'train' needs"),
        (["good", "--data", "DATA", "--split", "validation"], "no split 'validation'"),
        (["good", "--data", "DATA/nowhere"], "no such folder"),
        (["good", "--data", "DATA", "--scheme", "five"], "--scheme is for labels of your own"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(data, model, tmp_path, capsys, arguments, words):
    arguments = [word.replace("DATA", str(data)) for word in arguments]
    assert main(["evaluate", *arguments, "--output", str(tmp_path / "results")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert words in line


def test_preset_of_another_scheme(data, model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(FakeModel, "scheme", COFW29)
    assert evaluate(data, tmp_path / "results") == 2
    assert "good has landmarks of 'cofw29'" in capsys.readouterr().err


def test_output_that_cannot_be_a_folder(data, model, tmp_path, capsys):
    (tmp_path / "taken").write_text("a file")
    assert evaluate(data, tmp_path / "taken") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "taken" in line


# ---- protocols and predictions from files -------------------------------------------------------


def test_page_and_images(data, model, tmp_path):
    output = tmp_path / "results"
    assert evaluate(data, output) == 0
    page = (output / "report.html").read_text(encoding="utf-8")
    # Two each of the best, the median and the worst of five faces, and a color scale.
    assert page.count("data:image/png;base64,") == 6 + 1
    assert "good on 300W lfpw_test" in page
    assert f"{np.mean([expected_nme(i) for i in range(5)]):.3f}" in page


def test_earlier_predictions_need_neither_preset_nor_data(data, model, tmp_path, capsys):
    first, second = tmp_path / "a", tmp_path / "b"
    assert evaluate(data, first) == 0
    arguments = ["--predictions", str(first / "predictions.npz"), "--output", str(second)]
    assert main(["evaluate", *arguments]) == 0
    reports = [json.loads((folder / "report.json").read_text()) for folder in (first, second)]
    for key in ("nme", "rates", "regions", "images"):
        assert reports[0][key] == reports[1][key]
    assert reports[1]["predictions"] == "predictions.npz"
    assert not (second / "worst.png").exists()
    assert (second / "report.html").exists()


def test_predictions_of_another_library_with_the_data(data, tmp_path, capsys):
    faces = {}
    for i in range(4):
        points = 200 + 10 * i + (template() - (SIZE - 1) / 2) * scale_of(i)
        faces[f"image_{i:04}"] = (points + np.array([0, 3])).tolist()
    theirs = tmp_path / "theirs.json"
    theirs.write_text(json.dumps(faces))
    output = tmp_path / "results"
    arguments = ["--predictions", str(theirs), "--data", str(data), "--output", str(output)]
    assert main(["evaluate", *arguments]) == 0
    report = json.loads((output / "report.json").read_text())
    eyes = math.dist(*template()[[36, 45]])
    expected = np.mean([300 / eyes / scale_of(i) for i in range(4)])
    assert report["nme"]["inter_ocular"]["mean"] == pytest.approx(expected, rel=1e-4)
    assert report["missed_files"] == ["lfpw/testset/image_0004.png"]
    assert Image.open(output / "worst.png").size[0] > 300


def test_protocol_by_name(data, model, tmp_path, capsys):
    (data / "helen").mkdir()
    (data / "helen" / "testset").mkdir()
    for path in sorted((data / "lfpw" / "testset").iterdir()):
        if path.stem in ("image_0001", "image_0002"):
            (data / "helen" / "testset" / path.name).write_bytes(path.read_bytes())
    output = tmp_path / "results"
    assert evaluate(data, output, "--protocol", "300w_common") == 0
    report = json.loads((output / "report.json").read_text())
    expected = [expected_nme(i) for i in (1, 2, 0, 1, 2, 3, 4)]
    assert report["nme"]["inter_ocular"]["mean"] == pytest.approx(np.mean(expected), rel=1e-4)
    assert (report["protocol"], report["images"]) == ("300w_common", 7)
    page = (output / "report.html").read_text(encoding="utf-8")
    assert "SPIGA 2022" in page and "the official set has 554" in page


def test_measure_of_the_original_code(data, model, tmp_path, monkeypatch):
    (data / "lfpw").rename(data / "ibug_parts")
    (data / "ibug_parts" / "testset").rename(data / "ibug")
    seen = []

    def predict_on_batch(self, crops):
        seen.append(crops.shape)
        maps = np.zeros((len(crops), 64, 64, 68), "float32")
        maps[:, 30, 20] = 1
        return [maps]

    monkeypatch.setattr(FakeModel, "predict_on_batch", predict_on_batch, raising=False)
    output = tmp_path / "results"
    assert evaluate(data, output, "--protocol", "legacy_mxnet", "--batch-size", "3") == 0
    assert seen == [(3, 128, 128, 3), (2, 128, 128, 3)]
    report = json.loads((output / "report.json").read_text())
    assert report["normalizer"] == "eye_corner_center"
    assert report["measure"] == "dfa, 2D, margin of ibug"
    assert report["images"] == 5
    page = (output / "report.html").read_text(encoding="utf-8")
    assert "7.052" in page
    again = tmp_path / "again"
    arguments = ["--protocol", "legacy_mxnet", "--output", str(again)]
    assert main(["evaluate", "--predictions", str(output / "predictions.npz"), *arguments]) == 0
    assert json.loads((again / "report.json").read_text())["nme"] == report["nme"]


def test_list_of_protocols(capsys):
    assert main(["evaluate", "--protocol", "list"]) == 0
    printed = capsys.readouterr().out
    for name in ("300w_full", "wflw", "legacy_mxnet"):
        assert name in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["good", "--data", "DATA"], "--output is missing"),
        (["--data", "DATA", "--output", "OUT"], "either a preset or --predictions"),
        (["good", "--predictions", "p.npz", "--output", "OUT"], "not both"),
        (["good", "--output", "OUT"], "--data is missing"),
        (["--predictions", "p.csv", "--output", "OUT"], "p.csv: has no ground truth"),
        (["good", "--protocol", "300w", "--data", "DATA", "--output", "OUT"], "Unknown protocol"),
        (["good", "--protocol", "wflw", "--data", "DATA", "--output", "OUT"], "WFLW_images"),
        (["good", "--protocol", "cofw68", "--data", "DATA", "--output", "OUT"], "COFW68"),
        (
            ["good", "--protocol", "legacy_mxnet", "--boxes", "mtcnn", "--data", "DATA"],
            "crops by the labels",
        ),
        (
            ["--predictions", "p.npy", "--protocol", "legacy_mxnet", "--data", "DATA"],
            "give a preset",
        ),
    ],
)
def test_what_is_missing_or_contradicts(data, model, tmp_path, capsys, arguments, words):
    places = {"DATA": str(data), "OUT": str(tmp_path / "results")}
    if "legacy_mxnet" in arguments:
        arguments = [*arguments, "--output", "OUT"]
    assert main(["evaluate", *(places.get(word, word) for word in arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


@pytest.mark.skipif(os.name == "nt", reason="names of POSIX")
def test_odd_names_reach_every_file(data, model, tmp_path, capsys):
    folder = data / "lfpw" / "testset"
    names = ["=1+1", "b\udcff", "[red]\x1b[1m", "two\nlines", "<i>$x^{"]
    for i, name in enumerate(names):
        for suffix in ("png", "pts"):
            (folder / f"image_{i:04}.{suffix}").rename(folder / f"{name}.{suffix}")
    first, again = tmp_path / "[/b]\udcff", tmp_path / "again"
    assert evaluate(data, first) == 0
    # The same numbers from a file with such a name, which becomes the title of tables and plots.
    saved = tmp_path / "p\udcff$x^{[/red].npz".replace("/", "")
    saved.write_bytes((first / "predictions.npz").read_bytes())
    words = ["evaluate", "--data", str(data), "--predictions", str(saved), "-o", str(again)]
    assert main(words) == 0
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err
    expected = {f"lfpw/testset/{name}.png" for name in names}
    for output in (first, again):
        with open(output / "per_image.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert {unescape_cell(row["file_name"]) for row in rows} == expected
        assert (output / "ced.png").is_file() and (output / "worst.png").is_file()
        assert "<i>$x^{" not in (output / "report.html").read_text(encoding="utf-8")
    assert [row["nme_inter_ocular"] for row in rows].count("") == 0
