"""Predictions of another library with the ground truth of a data set."""

from types import SimpleNamespace

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation import predictions_from_file
from keras_facealign.landmarks import COFW29, IBUG68, WFLW98, convert_landmarks
from tests.evaluation.test_prediction_files import NAMES, points, write

__all__ = ["points"]  # a fixture


def examples(points, names=NAMES):
    return [
        SimpleNamespace(
            image=None,
            landmarks=face,
            visibility=np.full(len(face), 2),
            box=None,
            file_name=name,
            subset=name.rpartition("/")[0],
        )
        for name, face in zip(names, points, strict=True)
    ]


def test_predictions_of_another_library(points, tmp_path, caplog):
    truth = points
    found = points[[2, 0]] + [3.0, 4.0]
    stranger = np.concatenate([found, found[:1]])
    names = ["x/image_0001.png", "x/1.jpg", "x/other.jpg"]
    path = write(tmp_path / "p.json", "json", stranger, names)
    kept = predictions_from_file(path, iter(examples(truth)), IBUG68)
    assert kept.file_names == [NAMES[0], NAMES[2]]
    assert kept.missed == [NAMES[1]]
    assert "1 predictions belong to no face" in caplog.text
    errors = kept.report().nmes["inter_ocular"]
    expected = 500 / np.linalg.norm(truth[[0, 2], 36] - truth[[0, 2], 45], axis=1)
    np.testing.assert_allclose(errors, expected)


def test_faces_that_were_not_found_are_nan(points, tmp_path):
    found = points.copy()
    found[1] = np.nan
    path = write(tmp_path / "p.csv", "csv", found)
    assert predictions_from_file(path, examples(points), IBUG68).missed == [NAMES[1]]
    found[0, 5] = np.nan
    path = write(tmp_path / "p.npz", "npz", found)
    with pytest.raises(FaceAlignError, match=r"1\.jpg: landmark 5 of the prediction"):
        predictions_from_file(path, examples(points), IBUG68)


def test_without_names_the_order_tells(points, tmp_path):
    path = write(tmp_path / "p.npy", "npy", points + 1)
    kept = predictions_from_file(path, examples(points), IBUG68)
    np.testing.assert_allclose(kept.arrays()["prediction"], points + 1)
    with pytest.raises(FaceAlignError, match="3 faces without names for the data's 2"):
        predictions_from_file(path, examples(points[:2], NAMES[:2]), IBUG68)


def test_landmarks_of_another_scheme_are_converted(tmp_path):
    points = np.random.default_rng(1).uniform(0, 300, (3, 98, 2))
    confidence = np.random.default_rng(2).uniform(0, 1, (3, 98))
    path = write(tmp_path / "p.npz", "npz", points, confidence=confidence)
    truth = convert_landmarks(points, "wflw98", "ibug68")
    arrays = predictions_from_file(path, examples(truth), IBUG68).arrays()
    np.testing.assert_allclose(arrays["prediction"], truth)
    np.testing.assert_allclose(arrays["confidence"][:, 36], confidence[:, 60])
    np.testing.assert_allclose(arrays["confidence"][:, 18], confidence[:, [34, 41]].mean(axis=1))
    with pytest.raises(FaceAlignError, match="There is no conversion"):
        other = write(tmp_path / "q.npz", "npz", truth)
        predictions_from_file(other, examples(points), WFLW98)
    with pytest.raises(FaceAlignError, match="do not determine all of 'cofw29'"):
        predictions_from_file(other, examples(points[:, :29]), COFW29)
