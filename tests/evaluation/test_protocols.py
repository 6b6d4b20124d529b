"""Protocols: their parts by hand, published predictions under them, and reading their data.

The complete checks need the folder with published predictions (KERAS_FACEALIGN_GOLDEN), and that
with AFLW2000-3D's labels (KERAS_FACEALIGN_DATA).
"""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation import (
    PROTOCOLS,
    Predictions,
    auc,
    get_protocol,
    nme,
    yaw_groups,
)
from keras_facealign.landmarks import get_scheme
from tests.paths import ROOT

BUILDERS = ROOT / "tfds_builders"

needs_golden = pytest.mark.skipif(
    "KERAS_FACEALIGN_GOLDEN" not in os.environ,
    reason="KERAS_FACEALIGN_GOLDEN does not name the folder with the published predictions",
)
needs_data = pytest.mark.skipif(
    "KERAS_FACEALIGN_DATA" not in os.environ,
    reason="KERAS_FACEALIGN_DATA does not name the folder with aflw2000/labels",
)


def collect(truth, prediction, subsets=None, visibility=None, confidence=None, extras=None):
    kept = Predictions()
    for i in range(len(truth)):
        example = SimpleNamespace(
            landmarks=truth[i],
            visibility=np.full(truth.shape[1], 2) if visibility is None else visibility[i],
            box=None,
            file_name=f"{i}.png",
            subset="" if subsets is None else subsets[i],
            extras={} if extras is None else {key: value[i] for key, value in extras.items()},
        )
        face = SimpleNamespace(
            landmarks=prediction[i],
            confidence=None if confidence is None else confidence[i],
            box=None,
        )
        kept.add(example, face)
    return kept


def random_faces(count, points, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 100, (count, points, 2))
    return truth, truth + rng.normal(0, 2, truth.shape)


def test_all_named_protocols_are_there():
    names = "300w_common 300w_challenge 300w_full 300w_test cofw29 cofw68 menpo2d aflw2000_3d wflw"
    assert set(names.split()) | {"merl_rav", "legacy_mxnet"} <= set(PROTOCOLS)
    faces = {name: PROTOCOLS[name].faces for name in names.split()}
    assert list(faces.values()) == [554, 135, 689, 600, 507, 507, 5335, 2000, 2500]
    with pytest.raises(FaceAlignError, match=r"'300w'.*300w_challenge"):
        get_protocol("300w")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_report_under_each_protocol(name):
    protocol = PROTOCOLS[name]
    truth, prediction = random_faces(6, get_scheme(protocol.scheme).num_landmarks)
    summary = protocol.report(collect(truth, prediction), model="a").summary()
    assert (summary["protocol"], summary["model"]) == (name, "a")
    assert summary["normalizer"] == protocol.normalizer
    mean = nme(prediction, truth, protocol.normalizer).mean()
    assert summary["nme"][protocol.normalizer]["mean"] == pytest.approx(mean)
    rates = [(row["normalizer"], row["threshold"]) for row in summary["rates"]]
    expected = [
        t if isinstance(t, tuple) else (protocol.normalizer, t) for t in protocol.thresholds
    ]
    assert rates == expected
    for row in summary["rates"]:
        values = nme(prediction, truth, row["normalizer"])
        assert row["auc"] == pytest.approx(auc(values, row["threshold"]))


def test_parts_of_300w():
    truth, prediction = random_faces(6, 68)
    subsets = ["helen/testset", "ibug", "lfpw/testset", "ibug", "helen/testset", "lfpw/testset"]
    report = get_protocol("300w_full").report(collect(truth, prediction, subsets))
    groups = report.summary()["groups"]
    errors = nme(prediction, truth)
    for name, rows in {
        "common": [0, 2, 4, 5],
        "challenge": [1, 3],
        "helen": [0, 4],
        "lfpw": [2, 5],
    }.items():
        assert groups[name]["images"] == len(rows)
        assert groups[name]["nme"]["inter_ocular"]["mean"] == pytest.approx(errors[rows].mean())


def test_parts_of_merl_rav_and_division_by_all_landmarks():
    truth, prediction = random_faces(5, 68)
    visibility = np.full((5, 68), 2)
    visibility[3, :34] = 0
    subsets = [f"{p}/testset" for p in ("frontal", "left", "lefthalf", "right", "righthalf")]
    protocol = get_protocol("merl_rav")
    report = protocol.report(collect(truth, prediction, subsets, visibility))
    groups = report.summary()["groups"]
    assert {key: group["images"] for key, group in groups.items()} == {
        "frontal": 1,
        "half profile": 2,
        "profile": 2,
    }
    # By hand: half of the landmarks have no position, the sum is divided by 68 all the same.
    distances = np.hypot(*(prediction[3, 34:] - truth[3, 34:]).T)
    width, height = np.ptp(truth[3, 34:], axis=0)
    expected = 100 * distances.sum() / 68 / np.sqrt(width * height)
    assert report.nmes["box_size"][3] == pytest.approx(expected)
    with pytest.raises(FaceAlignError, match="divide_by is 'some'"):
        nme(prediction, truth, divide_by="some")


def test_bins_of_yaw_and_their_balanced_mean():
    yaw = np.array([0, -30, 30.01, 60, -60.5, 89, 12])
    groups = yaw_groups(yaw)
    assert [np.flatnonzero(g).tolist() for g in groups.values()] == [[0, 1, 6], [2, 3], [4, 5]]
    truth, prediction = random_faces(7, 68)
    pose = np.stack([0 * yaw, yaw, 0 * yaw], axis=-1)
    report = get_protocol("aflw2000_3d").report(collect(truth, prediction, extras={"pose": pose}))
    errors = nme(prediction, truth, "box_size")
    means = [errors[g].mean() for g in groups.values()]
    balanced = report.summary()["balanced"]
    assert balanced["mean"] == pytest.approx(np.mean(means))
    assert balanced["std"] == pytest.approx(np.std(means))
    # A set without a profile has no balanced mean.
    few = collect(truth[:4], prediction[:4], extras={"pose": pose[:4]})
    assert get_protocol("aflw2000_3d").report(few).summary()["balanced"]["mean"] is None
    # Faces without a pose are measured without bins.
    plain = get_protocol("aflw2000_3d").report(collect(truth, prediction)).summary()
    assert "groups" not in plain and "balanced" not in plain


def test_subsets_of_wflw():
    truth, prediction = random_faces(4, 98)
    attributes = np.array([[1, 0, 0, 0, 0, 1], [0, 1, 0, 0, 0, 0], [0] * 6, [1, 0, 1, 1, 1, 0]])
    kept = collect(truth, prediction, extras={"attributes": attributes})
    groups = get_protocol("wflw").report(kept).summary()["groups"]
    counts = {key: group["images"] for key, group in groups.items()}
    assert counts == {
        "pose": 2,
        "expression": 1,
        "illumination": 1,
        "make-up": 1,
        "occlusion": 1,
        "blur": 1,
    }
    errors = nme(prediction, truth)
    expected = np.mean(np.linalg.norm(prediction[3] - truth[3], axis=1))
    expected *= 100 / np.linalg.norm(truth[3, 60] - truth[3, 72])
    assert groups["illumination"]["nme"]["inter_ocular"]["mean"] == pytest.approx(expected)
    assert errors[3] == pytest.approx(expected)


def test_wrong_number_of_landmarks():
    truth, prediction = random_faces(2, 68)
    with pytest.raises(FaceAlignError, match="'wflw98' has 98"):
        get_protocol("wflw").report(collect(truth, prediction))


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("300w_full", "ibug_300w"),
        ("300w_test", "ibug_300w"),
        ("cofw29", "cofw"),
        ("menpo2d", "menpo2d"),
        ("aflw2000_3d", "aflw2000_3d"),
        ("wflw", "wflw"),
        ("legacy_mxnet", "ibug_300w"),
    ],
)
def test_protocols_read_the_official_layout(name, folder):
    root = BUILDERS / folder / "dummy_data"
    if not root.is_dir():
        pytest.skip(f"{root} is not there")
    protocol = PROTOCOLS[name]
    examples = list(protocol.load(root))
    assert examples
    points = get_scheme(protocol.scheme).num_landmarks
    kept = Predictions()
    for example in examples:
        assert example.landmarks.shape == (points, 2)
        face = SimpleNamespace(landmarks=example.landmarks + 1, confidence=None, box=None)
        kept.add(example, face)
    summary = protocol.report(kept).summary()
    assert summary["images"] == len(examples)
    assert ("groups" in summary) == (protocol.grouping is not None)


# ---- published predictions ----------------------------------------------------------------------


def published(name):
    path = Path(os.environ["KERAS_FACEALIGN_GOLDEN"]) / "predictions" / f"{name}.npz"
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def golden():
    path = Path(os.environ["KERAS_FACEALIGN_GOLDEN"]) / "golden_nme.json"
    return json.loads(path.read_text())


def rate(summary, normalizer, threshold, key):
    (row,) = [
        row
        for row in summary["rates"]
        if (row["normalizer"], row["threshold"]) == (normalizer, threshold)
    ]
    return row[key]


@needs_golden
def test_spiga_on_300w():
    arrays = published("spiga_300wpublic")
    names = np.full(689, "ibug").astype("U16")
    names[arrays["subset_helen"]], names[arrays["subset_lfpw"]] = "helen/testset", "lfpw/testset"
    kept = collect(arrays["ground_truth"], arrays["prediction"], names.tolist())
    summary = get_protocol("300w_full").report(kept).summary()
    expected = golden()["spiga"]["300wpublic"]
    found = {**{k: g["nme"] for k, g in summary["groups"].items()}, "all": summary["nme"]}
    for group, key in (("all", "all"), ("common", "common"), ("challenge", "ibug"), ("lfpw",) * 2):
        for ours, theirs in (("inter_ocular", "interocular_outer"), ("eye_center", "eye6")):
            assert found[group][ours]["mean"] == pytest.approx(expected[key][theirs], abs=1e-4)
    # As the authors print them; their area is by Simpson's rule.
    assert rate(summary, "inter_ocular", 8, "auc") == pytest.approx(62.726, abs=0.02)
    assert rate(summary, "inter_ocular", 8, "failure_rate") == pytest.approx(0.726, abs=5e-4)


@needs_golden
def test_spiga_on_300w_test_and_cofw68():
    arrays = published("spiga_300wprivate")
    names = np.full(600, "Test/01_Indoor").astype("U16")
    names[arrays["subset_outdoor"]] = "Test/02_Outdoor"
    kept = collect(arrays["ground_truth"], arrays["prediction"], names.tolist())
    summary = get_protocol("300w_test").report(kept).summary()
    assert rate(summary, "box_size", 7, "auc") == pytest.approx(71.011, abs=0.02)
    assert rate(summary, "box_size", 7, "failure_rate") == pytest.approx(0.167, abs=5e-4)
    (indoor,) = [r for r in summary["groups"]["indoor"]["rates"] if r["normalizer"] == "box_size"]
    assert indoor["auc"] == pytest.approx(70.959, abs=0.02)
    for group in ("indoor", "outdoor"):
        expected = golden()["spiga"]["300wprivate"][group]["gtbox_geo"]
        found = summary["groups"][group]["nme"]["box_size"]["mean"]
        assert found == pytest.approx(expected, abs=1e-4)
    arrays = published("spiga_cofw68")
    kept = collect(arrays["ground_truth"], arrays["prediction"])
    summary = get_protocol("cofw68").report(kept).summary()
    assert rate(summary, "box_size", 7, "auc") == pytest.approx(64.050, abs=0.02)
    assert summary["nme"]["eye_center"]["mean"] == pytest.approx(
        golden()["spiga"]["cofw68"]["all"]["eye6"], abs=1e-4
    )


@needs_golden
def test_baselines_of_cofw68():
    arrays = published("cofw68_baselines")
    visibility = np.where(arrays["occluded"] > 0, 1, 2)
    for name, expected in golden()["cofw68"].items():
        method = name.replace("-", "_").split("_")[0]
        confidence = 1.0 - arrays[f"{method}_occluded"]
        kept = collect(
            arrays["ground_truth"],
            arrays[f"{method}_prediction"].astype(float),
            visibility=visibility,
            confidence=confidence,
        )
        summary = get_protocol("cofw68").report(kept).summary()
        assert summary["nme"]["eye_center"]["mean"] == pytest.approx(expected["eye6"], abs=1e-4)
        success = 100 - rate(summary, "eye_center", 10, "failure_rate")
        assert success == pytest.approx(expected["SR@0.10_eye6"], abs=1e-9)
        # Occlusion as the method predicted it, counted by hand.
        hidden, predicted = visibility == 1, confidence < 0.5
        if predicted.any():
            both = (hidden & predicted).sum()
            assert summary["occlusion"]["precision"] == pytest.approx(100 * both / predicted.sum())
            assert summary["occlusion"]["recall"] == pytest.approx(100 * both / hidden.sum())
        assert summary["visibility"]["occluded"]["landmarks"] == hidden.sum()
        values = [summary["visibility"][key]["mean"] for key in ("visible", "occluded")]
        assert values[0] < expected["eye6"] < values[1]


@needs_data
def test_two_label_sets_of_aflw2000():
    folder = Path(os.environ["KERAS_FACEALIGN_DATA"]) / "aflw2000" / "labels"
    old = np.load(folder / "AFLW2000-3D.pts68.npy")[:, :2].transpose(0, 2, 1)
    new = np.load(folder / "AFLW2000-3D-Reannotated.pts68.npy").transpose(0, 2, 1)
    yaw = np.load(folder / "AFLW2000-3D.pose.npy")
    pose = np.stack([0 * yaw, yaw, 0 * yaw], axis=-1)
    kept = collect(old.astype(float), new.astype(float), extras={"pose": pose})
    summary = get_protocol("aflw2000_3d").report(kept).summary()
    assert summary["nme"]["box_size"]["mean"] == pytest.approx(3.088, abs=5e-4)
    bins = list(summary["groups"].values())
    assert [group["images"] for group in bins] == [1312, 383, 305]
    means = [group["nme"]["box_size"]["mean"] for group in bins]
    assert means == pytest.approx([2.812, 3.234, 4.096], abs=5e-4)
    assert summary["balanced"]["mean"] == pytest.approx(3.381, abs=5e-4)


def test_names_of_version_0_1_are_accepted():
    with pytest.warns(FutureWarning, match="'sdu_legacy_3d' is now 'legacy_mxnet_3d'"):
        assert get_protocol("sdu_legacy_3d") is PROTOCOLS["legacy_mxnet_3d"]
