"""NME, CED, AUC and failure rate against slow loops and closed forms."""

import math

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation import (
    NORMALIZERS,
    auc,
    ced,
    failure_rate,
    landmark_errors,
    nme,
)
from keras_facealign.evaluation.measures import face_errors


def slow_length(points, normalizer):
    def mean(indices):
        return [sum(points[i][axis] for i in indices) / len(indices) for axis in (0, 1)]

    if normalizer == "inter_ocular":
        return math.dist(points[36], points[45])
    if normalizer == "eye_center":
        return math.dist(mean(range(36, 42)), mean(range(42, 48)))
    if normalizer == "eye_corner_center":
        return math.dist(mean([36, 39]), mean([42, 45]))
    width = max(x for x, _ in points) - min(x for x, _ in points)
    height = max(y for _, y in points) - min(y for _, y in points)
    return math.sqrt(width * height) if normalizer == "box_size" else math.hypot(width, height)


def slow_nme(prediction, truth, normalizer, visible=None):
    """The definition, one face and one point at a time."""
    results = []
    for i in range(len(truth)):
        keep = [k for k in range(len(truth[i])) if visible is None or visible[i][k] > 0]
        total = sum(math.dist(prediction[i][k], truth[i][k]) for k in keep)
        # Box normalizers see the labeled points only; eye ones need their points labeled.
        points = truth[i].tolist()
        if normalizer.startswith("box"):
            points = [points[k] for k in keep]
        results.append(100 * total / len(keep) / slow_length(points, normalizer))
    return results


@pytest.fixture
def faces():
    rng = np.random.default_rng(3)
    truth = rng.uniform(0, 200, (7, 68, 2))
    prediction = truth + rng.normal(0, 4, truth.shape)
    visibility = rng.integers(0, 3, (7, 68))
    visibility[:, 36:48] = rng.integers(1, 3, (7, 12))
    return prediction, truth, visibility


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_nme_is_the_definition(faces, normalizer):
    prediction, truth, visibility = faces
    np.testing.assert_allclose(
        nme(prediction, truth, normalizer), slow_nme(prediction, truth, normalizer), rtol=1e-12
    )
    np.testing.assert_allclose(
        nme(prediction, truth, normalizer, visibility),
        slow_nme(prediction, truth, normalizer, visibility),
        rtol=1e-12,
    )


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_nme_ignores_shift_turn_and_scale_of_the_frame(faces, normalizer):
    prediction, truth, _ = faces
    # A quarter turn keeps boxes upright, so it suits every normalizer.
    frame = np.array([[0.0, -1.0], [1.0, 0.0]]) * 2.5
    moved = nme(prediction @ frame.T + [40, -9], truth @ frame.T + [40, -9], normalizer)
    np.testing.assert_allclose(moved, nme(prediction, truth, normalizer), rtol=1e-12)


@pytest.mark.parametrize("filler", [np.nan, np.inf, -1.0])
def test_unlabeled_coordinates_may_hold_anything(faces, filler):
    prediction, truth, visibility = faces
    expected = {key: nme(prediction, truth, key, visibility) for key in NORMALIZERS}
    truth[visibility == 0] = filler
    prediction[visibility == 0] = filler
    for key, values in expected.items():
        np.testing.assert_array_equal(nme(prediction, truth, key, visibility), values)


def test_a_face_with_one_labeled_landmark_counts():
    errors = np.array([[np.nan, 3.0, np.nan], [np.nan] * 3, [1.0, 3.0, np.nan], [3.0] * 3])
    np.testing.assert_array_equal(face_errors(errors), [3, np.nan, 2, 3])
    np.testing.assert_array_equal(face_errors(errors, "all"), [1, np.nan, 4 / 3, 3])


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_where_nothing_can_be_measured_there_is_no_error(faces, normalizer):
    """All hidden, or all in one place: NaN, or an error, but no number."""
    prediction, truth, visibility = faces
    visibility[1] = 0
    truth[2] = truth[2, 0]
    found = nme(prediction, truth, normalizer, visibility, undefined="nan")
    assert np.isnan(found).tolist() == [False, True, True, False, False, False, False]
    with pytest.raises(FaceAlignError, match=f"Image 1 has no '{normalizer}' length"):
        nme(prediction, truth, normalizer, visibility)
    for measure in (auc, failure_rate, lambda nmes, _: ced(nmes)):
        with pytest.raises(FaceAlignError, match="NME of image 1 is nan"):
            measure(found, 8)
        with pytest.raises(FaceAlignError, match="at least one number"):
            measure(found[1:3][~np.isnan(found[1:3])], 8)


def test_input_is_left_alone(faces):
    copies = [array.copy() for array in faces]
    nme(faces[0], faces[1], "box_size", faces[2])
    for array, copy in zip(faces, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_landmark_errors(faces):
    prediction, truth, visibility = faces
    errors = landmark_errors(prediction, truth, visibility)
    assert np.isnan(errors).tolist() == (visibility == 0).tolist()
    assert errors[2, 40] == pytest.approx(math.dist(prediction[2, 40], truth[2, 40]))


def test_undefined_normalizer_is_named_or_nan(faces):
    prediction, truth, visibility = faces
    visibility[4, 40] = 0
    truth[5, 36] = truth[5, 45]
    with pytest.raises(FaceAlignError, match=r"Image 4 has no 'eye_center' length.*1 of 7"):
        nme(prediction, truth, "eye_center", visibility)
    with pytest.raises(FaceAlignError, match="'inter_ocular' length of image 5 is 0"):
        nme(prediction, truth, visibility=visibility)
    kept = nme(prediction, truth, visibility=visibility, undefined="nan")
    assert np.isnan(kept).tolist() == [False] * 5 + [True, False]
    rest = [0, 1, 2, 3, 4, 6]
    np.testing.assert_array_equal(
        kept[rest], nme(prediction[rest], truth[rest], visibility=visibility[rest])
    )


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_face_without_any_label(faces, normalizer):
    prediction, truth, visibility = faces
    visibility[1] = 0
    with pytest.raises(FaceAlignError, match="Image 1"):
        nme(prediction, truth, normalizer, visibility)
    values = nme(prediction, truth, normalizer, visibility, undefined="nan")
    assert np.isnan(values).tolist() == [False, True] + [False] * 5


def test_bad_input_is_named(faces):
    prediction, truth, visibility = faces
    with pytest.raises(FaceAlignError, match=r"shape \(7, 68, 2\), got \(7, 5, 2\)"):
        nme(prediction[:, :5], truth)
    with pytest.raises(FaceAlignError, match=r"\(68, 2\); add the image axis"):
        nme(prediction[0], truth[0])
    with pytest.raises(FaceAlignError, match=r"\(images, landmarks, 2\), got \(7, 68, 3\)"):
        nme(np.zeros((7, 68, 3)), np.zeros((7, 68, 3)))
    with pytest.raises(FaceAlignError, match=r"Unknown normalizer 'pupils'.*box_size"):
        nme(prediction, truth, "pupils")
    with pytest.raises(FaceAlignError, match=r"visibility must have shape \(7, 68\)"):
        nme(prediction, truth, visibility=visibility[:, :5])
    with pytest.raises(FaceAlignError, match="not an array of numbers"):
        nme(prediction, [[["left", "right"]]])
    for wrong in (-1.0, np.nan):
        marks = visibility.astype(float)
        marks[3, 9] = wrong
        with pytest.raises(FaceAlignError, match=f"landmark 9 in image 3 is {wrong}"):
            nme(prediction, truth, visibility=marks)
    for what, array in (("ground truth", truth), ("prediction", prediction)):
        before = array[6, 2, 1]
        array[6, 2, 1] = np.nan
        with pytest.raises(FaceAlignError, match=f"Landmark 2 of image 6 in the {what}"):
            nme(prediction, truth)
        array[6, 2, 1] = before


def test_auc_is_the_area_under_the_drawn_curve():
    nmes = np.random.default_rng(5).gamma(3, 1.5, 200)
    for threshold in (1.0, 4.0, 8.0, 50.0):
        jumps, shares = ced(nmes)
        edges = np.concatenate([jumps[jumps < threshold], [threshold]])
        area = sum(
            share * (right - left)
            for share, left, right in zip(shares, edges[:-1], edges[1:], strict=False)
        )
        assert auc(nmes, threshold) == pytest.approx(area / threshold, rel=1e-12)


def test_auc_agrees_with_fine_sampling():
    nmes = np.random.default_rng(6).gamma(3, 1.5, 50)
    centers = (np.arange(200_000) + 0.5) * (8 / 200_000)
    assert auc(nmes, 8) == pytest.approx(ced(nmes, centers)[1].mean(), abs=1e-3)


def test_closed_forms():
    assert auc([0.0, 0.0], 8) == 100
    assert auc([8.0, 9.0, np.inf], 8) == 0
    assert auc([2.0, 4.0, 12.0], 8) == pytest.approx(100 * (0.75 + 0.5) / 3)
    assert failure_rate([8.0, 8.001, np.inf, 1.0], 8) == 50
    assert failure_rate([1.0], 8) == 0


def test_ced_steps_and_thresholds():
    limits, shares = ced([4.0, 2.0, 2.0, np.inf])
    assert limits.tolist() == [2, 4]
    assert shares.tolist() == [50, 75]
    _, shares = ced([4.0, 2.0, 2.0, np.inf], [0, 1.99, 2, 3, 4, 1e9])
    assert shares.tolist() == [0, 0, 50, 50, 75, 75]


def test_bad_nmes_and_thresholds_are_named():
    for measure in (lambda n: auc(n, 8), lambda n: failure_rate(n, 8), ced):
        with pytest.raises(FaceAlignError, match="at least one number"):
            measure([])
        with pytest.raises(FaceAlignError, match="image 1 is nan"):
            measure([1.0, np.nan])
        with pytest.raises(FaceAlignError, match=r"image 0 is -1\.0"):
            measure([-1.0])
    for wrong in (0, -8, np.nan, np.inf):
        with pytest.raises(FaceAlignError, match="threshold"):
            auc([1.0], wrong)
        with pytest.raises(FaceAlignError, match="threshold"):
            failure_rate([1.0], wrong)
