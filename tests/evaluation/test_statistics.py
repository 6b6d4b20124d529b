"""Statistics of a set of faces against direct computation."""

import math

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation import (
    NORMALIZERS,
    EvaluationReport,
    auc,
    failure_rate,
    landmark_errors,
    nme,
)

REGIONS = {
    "jaw": range(0, 17),
    "brows": range(17, 27),
    "nose": range(27, 36),
    "eyes": range(36, 48),
    "mouth": range(48, 68),
}


@pytest.fixture
def faces():
    rng = np.random.default_rng(11)
    truth = rng.uniform(0, 200, (9, 68, 2))
    return truth + rng.normal(0, 6, truth.shape), truth


def names(count):
    return [f"lfpw/testset/image_{i:04}.png" for i in range(count)]


def test_summary_is_made_of_the_measures(faces):
    prediction, truth = faces
    summary = EvaluationReport(prediction, truth, file_names=names(9), info={"a": 1}).summary()
    assert (summary["a"], summary["images"], summary["missed"]) == (1, 9, 0)
    assert list(summary["nme"]) == list(NORMALIZERS)
    for key, values in summary["nme"].items():
        expected = nme(prediction, truth, key)
        assert values["mean"] == pytest.approx(np.mean(expected))
        assert values["median"] == pytest.approx(sorted(expected)[4])
        assert values["faces"] == 9
    main = nme(prediction, truth)
    assert summary["normalizer"] == "inter_ocular"
    assert summary["rates"] == [
        {
            "normalizer": "inter_ocular",
            "threshold": t,
            "failure_rate": failure_rate(main, t),
            "auc": pytest.approx(auc(main, t)),
            "faces": 9,
        }
        for t in (8.0, 10.0)
    ]


def test_regions_cover_all_points_once(faces):
    prediction, truth = faces
    report = EvaluationReport(prediction, truth)
    for region, points in REGIONS.items():
        for i in (0, 8):
            errors = [math.dist(prediction[i, k], truth[i, k]) for k in points]
            length = math.dist(truth[i, 36], truth[i, 45])
            expected = 100 * sum(errors) / len(errors) / length
            assert report.region_errors[region][i] == pytest.approx(expected)
    # Weighted by their sizes, the regions' errors add up to the face's.
    weighted = sum(len(REGIONS[key]) * values for key, values in report.region_errors.items())
    np.testing.assert_allclose(weighted / 68, report.nmes["inter_ocular"])


def test_unlabeled_points_and_undefined_normalizer(faces):
    prediction, truth = faces
    visibility = np.full((9, 68), 2)
    visibility[3, 36] = 0
    visibility[5, :17] = 0
    prediction[3, 36] = truth[5, 4] = np.nan
    report = EvaluationReport(prediction, truth, visibility)
    summary = report.summary()
    assert summary["nme"]["inter_ocular"]["faces"] == 8
    assert summary["nme"]["box_size"]["faces"] == 9
    assert summary["regions"]["jaw"]["faces"] == 7
    assert summary["rates"][0]["faces"] == 8
    rest = [0, 1, 2, 4, 5, 6, 7, 8]
    expected = nme(prediction[rest], truth[rest], visibility=visibility[rest])
    assert summary["nme"]["inter_ocular"]["mean"] == pytest.approx(expected.mean())


def test_missed_faces_have_no_error_but_fail(faces):
    prediction, truth = faces
    report = EvaluationReport(prediction, truth, missed=["x.png", "y.png", "z.png"])
    summary = report.summary()
    main = nme(prediction, truth)
    assert summary["nme"]["inter_ocular"]["mean"] == pytest.approx(main.mean())
    row = summary["rates"][0]
    assert row["failure_rate"] == pytest.approx(100 * np.sum(main > 8) / 9)
    assert row["missed_as_failures"] == {
        "failure_rate": pytest.approx(100 * (np.sum(main > 8) + 3) / 12),
        "auc": pytest.approx(auc(main, 8) * 9 / 12),
        "faces": 12,
    }
    assert summary["missed_files"] == ["x.png", "y.png", "z.png"]


def test_another_normalizer(faces):
    report = EvaluationReport(*faces, normalizer="box_size")
    rows = report.summary()["rates"]
    assert rows[0]["normalizer"] == "box_size"
    assert rows[0]["auc"] == pytest.approx(auc(nme(*faces, "box_size"), 8))


def test_bad_input_is_named(faces):
    prediction, truth = faces
    with pytest.raises(FaceAlignError, match="no predicted face"):
        EvaluationReport(prediction[:0], truth[:0])
    with pytest.raises(FaceAlignError, match="file_names holds 3 names for 9 faces"):
        EvaluationReport(prediction, truth, file_names=names(3))
    with pytest.raises(FaceAlignError, match="subsets holds 3"):
        EvaluationReport(prediction, truth, subsets=["a"] * 3)
    with pytest.raises(FaceAlignError, match="29 a face, but the scheme 'ibug68' has 68"):
        EvaluationReport(prediction[:, :29], truth[:, :29])
    with pytest.raises(FaceAlignError, match="Unknown normalizer"):
        EvaluationReport(prediction, truth, normalizer="pupils")
    prediction[2, 7] = np.inf
    with pytest.raises(FaceAlignError, match="Landmark 7 of image 2 in the prediction"):
        EvaluationReport(prediction, truth)


def test_errors_agree_with_the_function(faces):
    report = EvaluationReport(*faces)
    np.testing.assert_array_equal(report.landmark_errors, landmark_errors(*faces))
