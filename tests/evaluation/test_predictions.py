"""Running an aligner over labeled examples, and what is kept of it."""

from types import SimpleNamespace

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation import Predictions, nme, predict
from keras_facealign.evaluation.predictions import converter
from keras_facealign.geometry import box_overlap
from keras_facealign.landmarks import convert_landmarks


def example(name, box=(10, 10, 50, 50), seed=0):
    truth = np.random.default_rng(seed).uniform(10, 50, (68, 2)).astype("float32")
    return SimpleNamespace(
        image=np.zeros((64, 64, 3), "uint8"),
        landmarks=truth,
        visibility=np.full(68, 2, "int32"),
        box=np.array(box, "float32"),
        file_name=name,
        subset="lfpw/testset",
    )


def face(box=(10, 10, 50, 50), offset=0.0):
    return SimpleNamespace(
        landmarks=np.full((68, 2), 30 + offset, "float32"),
        confidence=np.linspace(0, 1, 68, dtype="float32"),
        box=np.array(box, "float32"),
    )


class FakeAligner:
    """Returns prepared faces, and remembers what it was asked."""

    def __init__(self, answers):
        self.answers = dict(answers)
        self.calls = []

    def align_batch(self, images, boxes=None, names=None):
        self.calls.append((len(images), boxes, names))
        return [self.answers[name] for name in names]


def test_given_boxes_in_batches_and_in_order():
    examples = [example(f"{i}.jpg", box=(i, 0, 40 + i, 50), seed=i) for i in range(5)]
    aligner = FakeAligner({e.file_name: [face(offset=i)] for i, e in enumerate(examples)})
    pairs = list(predict(aligner, iter(examples), batch_size=2))
    assert [e.file_name for e, _ in pairs] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    assert [f.landmarks[0, 0] for _, f in pairs] == [30, 31, 32, 33, 34]
    assert [count for count, _, _ in aligner.calls] == [2, 2, 1]
    for (_, boxes, names), first in zip(aligner.calls, (0, 2, 4), strict=True):
        assert [box.tolist() for box in boxes] == [
            [examples[first + i].box.tolist()] for i in range(len(names))
        ]


def test_examples_are_read_no_further_than_a_batch():
    read = []

    def stream():
        for i in range(6):
            read.append(i)
            yield example(f"{i}")

    aligner = FakeAligner({str(i): [face()] for i in range(6)})
    pairs = predict(aligner, stream(), batch_size=2)
    next(pairs)
    assert read == [0, 1]


def test_detected_face_is_the_best_overlapping_one():
    wide, small, other = (8, 8, 56, 56), (20, 20, 30, 30), (60, 60, 90, 90)
    aligner = FakeAligner(
        {
            "found": [face(other), face(wide, 1), face(small)],
            "elsewhere": [face(other), face(small)],
            "none": [],
        }
    )
    examples = [example(name) for name in ("found", "elsewhere", "none")]
    pairs = list(predict(aligner, examples, detect=True))
    assert aligner.calls[0][1] is None
    assert pairs[0][1].box.tolist() == list(wide)
    assert pairs[1][1] is None
    assert pairs[2][1] is None


def test_least_overlap_is_inclusive():
    half = (10, 10, 50, 30)
    assert box_overlap(np.array(half), example("x").box) == 0.5
    for least, found in ((0.5, True), (0.51, False)):
        aligner = FakeAligner({"x": [face(half)]})
        ((_, result),) = predict(aligner, [example("x")], detect=True, min_overlap=least)
        assert (result is not None) == found


def test_box_overlap_against_counting_pixels():
    rng = np.random.default_rng(1)
    for _ in range(50):
        corners = np.sort(rng.integers(0, 12, (2, 2, 2)), axis=1)
        masks = np.zeros((2, 12, 12), bool)
        for mask, ((x0, y0), (x1, y1)) in zip(masks, corners, strict=True):
            mask[y0:y1, x0:x1] = True
        union = (masks[0] | masks[1]).sum()
        expected = (masks[0] & masks[1]).sum() / union if union else 0
        assert box_overlap(*corners.reshape(2, 4)) == pytest.approx(expected)


def test_kept_arrays_and_file(tmp_path):
    predictions = Predictions()
    first, second, third = (example(f"é{i}.jpg", seed=i) for i in range(3))
    predictions.add(first, face())
    predictions.add(second, None)
    predictions.add(third, face(offset=2))
    assert len(predictions) == 3
    path = predictions.save(tmp_path / "predictions.npz")
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    assert arrays["file_names"].tolist() == ["é0.jpg", "é2.jpg"]
    assert arrays["missed"].tolist() == ["é1.jpg"]
    assert arrays["subsets"].tolist() == ["lfpw/testset"] * 2
    assert arrays["prediction"].dtype == np.float32
    np.testing.assert_array_equal(arrays["ground_truth"], [first.landmarks, third.landmarks])
    np.testing.assert_array_equal(arrays["prediction"][1], np.full((68, 2), 32))
    assert arrays["confidence"].shape == arrays["visibility"].shape == (2, 68)
    assert arrays["box"].shape == arrays["ground_truth_box"].shape == (2, 4)

    report = predictions.report(info={"split": "lfpw_test"})
    expected = nme(arrays["prediction"], arrays["ground_truth"])
    np.testing.assert_array_equal(report.nmes["inter_ocular"], expected)
    assert report.summary()["missed_files"] == ["é1.jpg"]
    assert report.summary()["split"] == "lfpw_test"


def test_all_missed(tmp_path):
    predictions = Predictions()
    predictions.add(example("a.jpg"), None)
    with np.load(predictions.save(tmp_path / "p.npz"), allow_pickle=False) as file:
        assert file["missed"].tolist() == ["a.jpg"]
    with pytest.raises(FaceAlignError, match=r"no predicted face to evaluate.*1 were missed"):
        predictions.report()


class Tensor:
    """Stands for a tensor, as TensorFlow Datasets yields them."""

    def __init__(self, value):
        self.value = value

    def numpy(self):
        return self.value


def test_examples_of_tensorflow_datasets():
    truth = np.random.default_rng(0).uniform(10, 50, (68, 2)).astype("float32")
    features = {
        "image": Tensor(np.zeros((64, 64, 3), "uint8")),
        "landmarks": Tensor(truth),
        "visibility": Tensor(np.full(68, 1, "int32")),
        "box": Tensor(np.array([1, 2, 30, 40], "float32")),
        "file_name": Tensor("é/1.jpg".encode()),
        "subset": Tensor(b"AFLW2000"),
        "pose": Tensor(np.array([1, -40, 2], "float32")),
        "depth": Tensor(np.zeros(68)),
    }
    bare = {"landmarks": truth.tolist()}
    aligner = FakeAligner({"é/1.jpg": [face()], "1": [face()]})
    predictions = Predictions()
    for example, found in predict(aligner, [features, {**bare, "image": features["image"]}]):
        predictions.add(example, found)
    assert aligner.calls[0][1][0].tolist() == [[1, 2, 30, 40]]
    np.testing.assert_allclose(aligner.calls[0][1][1][0], [*truth.min(axis=0), *truth.max(axis=0)])
    arrays = predictions.arrays()
    assert arrays["file_names"].tolist() == ["é/1.jpg", "1"]
    assert arrays["subsets"].tolist() == ["AFLW2000", ""]
    assert arrays["visibility"][:, 0].tolist() == [1, 2]
    # Only the first has a pose, so the set has none.
    assert "pose" not in arrays
    with pytest.raises(FaceAlignError, match="Example 0 has no 'landmarks'; it has image"):
        next(iter(predict(aligner, [{"image": 0}])))


def test_faces_of_a_model_of_another_scheme_are_converted():
    points = np.random.default_rng(3).uniform(0, 50, (98, 2)).astype("float32")
    found = SimpleNamespace(landmarks=points, confidence=np.linspace(0, 1, 98), box=np.zeros(4))
    convert = converter("wflw98", "ibug68", "mine")
    assert convert(None) is None
    moved = convert(found)
    np.testing.assert_allclose(moved.landmarks, convert_landmarks(points, "wflw98", "ibug68"))
    assert moved.confidence[8] == pytest.approx(found.confidence[16])
    assert converter("ibug68", "ibug68", "mine")(found) is found
    with pytest.raises(FaceAlignError, match="mine has landmarks of 'five': There is no"):
        converter("five", "ibug68", "mine")
    with pytest.raises(FaceAlignError, match="do not determine all of 'cofw29'"):
        converter("ibug68", "cofw29", "mine")


def test_a_prediction_that_is_not_finite_is_named():
    broken = face()
    broken.landmarks[9] = np.inf
    with pytest.raises(FaceAlignError, match=r"a\.jpg: landmark 9 of the prediction is \[inf"):
        Predictions().add(example("a.jpg"), broken)
    hidden = example("a.jpg")
    hidden.visibility[9] = 0
    Predictions().add(hidden, broken)


def test_own_predictions_come_back(tmp_path):
    names = [f"{i}.jpg" for i in range(3)]
    points = np.random.default_rng(5).uniform(0, 300, (3, 68, 2))
    kept = Predictions()
    face = SimpleNamespace(landmarks=points[1], confidence=np.ones(68), box=np.arange(4))
    first, second, third = (example(name) for name in names)
    for each, landmarks in zip((first, second, third), points, strict=True):
        each.landmarks = landmarks
    first.extras = {"pose": np.array([1.0, 2.0, 3.0])}
    kept.add(first, face)
    kept.add(second, None)
    again = Predictions.load(kept.save(tmp_path / "p.npz"))
    assert (again.file_names, again.missed) == ([names[0]], [names[1]])
    for key, value in kept.arrays().items():
        np.testing.assert_array_equal(again.arrays()[key], value)
    assert again.arrays()["pose"].tolist() == [[1, 2, 3]]
    # They can go on, also without a pose, which then counts for no face.
    again.add(third, face)
    assert len(again) == 3
    assert "pose" not in again.arrays()
    expected = nme(points[[1, 1]], points[[0, 2]])
    np.testing.assert_allclose(again.report().nmes["inter_ocular"], expected)


def test_batches_of_nothing_are_refused():
    with pytest.raises(FaceAlignError, match="batch_size is 0"):
        next(predict(None, [], batch_size=0))
