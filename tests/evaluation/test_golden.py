"""The measures on published predictions: SPIGA's on 300W and COFW68, and COFW68's baselines.

`tests/data/evaluation/spiga_300w_30.npz` holds 30 of SPIGA's published predictions (10 each of
HELEN, LFPW and iBUG) with their ground truth. The complete check reads the folder that the variable
KERAS_FACEALIGN_GOLDEN names: `golden_nme.json` and `predictions/*.npz`.
"""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from keras_facealign.evaluation import EvaluationReport, nme
from tests.paths import TESTS

DATA = TESTS / "data" / "evaluation"

KEYS = {
    "eye6": "eye_center",
    "eyeCorner2": "eye_corner_center",
    "interocular_outer": "inter_ocular",
    "gtbox_geo": "box_size",
    "gtbox_diag": "box_diagonal",
}
SUCCESS = "SR@0.10_eye6"

needs_golden = pytest.mark.skipif(
    "KERAS_FACEALIGN_GOLDEN" not in os.environ,
    reason="KERAS_FACEALIGN_GOLDEN does not name the folder with the published predictions",
)


def slow_eye_center_nme(prediction, truth):
    errors = []
    for predicted, true in zip(prediction.tolist(), truth.tolist(), strict=True):
        right = [sum(true[i][axis] for i in range(36, 42)) / 6 for axis in (0, 1)]
        left = [sum(true[i][axis] for i in range(42, 48)) / 6 for axis in (0, 1)]
        total = sum(math.dist(p, t) for p, t in zip(predicted, true, strict=True))
        errors.append(100 * total / 68 / math.dist(right, left))
    return errors


def slow_inter_ocular_nme(prediction, truth):
    return [
        100 * sum(math.dist(p, t) for p, t in zip(ps, ts, strict=True)) / 68 / math.dist(*eyes)
        for ps, ts in zip(prediction.tolist(), truth.tolist(), strict=True)
        for eyes in [(ts[36], ts[45])]
    ]


def test_sample_of_published_predictions():
    with np.load(DATA / "spiga_300w_30.npz", allow_pickle=False) as sample:
        prediction, truth = sample["prediction"], sample["ground_truth"]
        names = sample["images"].tolist()
    inter_ocular = slow_inter_ocular_nme(prediction, truth)
    np.testing.assert_allclose(nme(prediction, truth), inter_ocular, rtol=1e-12)
    np.testing.assert_allclose(
        nme(prediction, truth, "eye_center"), slow_eye_center_nme(prediction, truth), rtol=1e-12
    )
    # float32, in which predictions are stored, is good for the decimals that papers print.
    single = nme(prediction.astype("float32"), truth.astype("float32"))
    np.testing.assert_allclose(single, inter_ocular, atol=1e-4)
    report = EvaluationReport(prediction, truth, file_names=names).summary()
    assert report["nme"]["inter_ocular"]["mean"] == pytest.approx(np.mean(inter_ocular))
    # The level that SPIGA publishes for these sets: 2.5 on HELEN to 4.7 on iBUG.
    assert 2.5 < report["nme"]["inter_ocular"]["mean"] < 4.7


def golden():
    folder = Path(os.environ["KERAS_FACEALIGN_GOLDEN"])
    return folder / "predictions", json.loads((folder / "golden_nme.json").read_text())


@needs_golden
@pytest.mark.parametrize("name", ["300wpublic", "300wprivate", "cofw68"])
def test_all_of_spiga(name):
    folder, numbers = golden()
    with np.load(folder / f"spiga_{name}.npz", allow_pickle=False) as arrays:
        for subset, expected in numbers["spiga"][name].items():
            rows = slice(None) if subset == "all" else arrays[f"subset_{subset}"]
            prediction, truth = arrays["prediction"][rows], arrays["ground_truth"][rows]
            summary = EvaluationReport(prediction, truth).summary()["nme"]
            found = {key: summary[KEYS[key]]["mean"] for key in expected}
            assert found == pytest.approx(expected, abs=1e-4), subset


@needs_golden
def test_all_cofw68_baselines():
    folder, numbers = golden()
    with np.load(folder / "cofw68_baselines.npz", allow_pickle=False) as arrays:
        for file_name, expected in numbers["cofw68"].items():
            method = file_name.replace("-", "_").split("_")[0]
            prediction, truth = arrays[f"{method}_prediction"], arrays["ground_truth"]
            for key, value in expected.items():
                if key == SUCCESS:
                    found = 100 * np.mean(nme(prediction, truth, "eye_center") <= 10)
                else:
                    found = nme(prediction, truth, KEYS[key]).mean()
                assert found == pytest.approx(value, abs=1e-4), (method, key)
