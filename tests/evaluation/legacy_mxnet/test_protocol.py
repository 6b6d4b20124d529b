"""The original code's evaluation, step by step against numbers that it wrote.

`tests/data/mxnet/protocol_dfa.npz` is a part of the file that KERAS_FACEALIGN_GOLDEN names as
`mxnet/protocol_dfa.npz`; pictures are blocks of noise in it. With the variable set the complete
file is checked too.
"""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation import MXNetProtocol, nme
from keras_facealign.evaluation.legacy_mxnet import crops as legacy_crops
from keras_facealign.geometry import invert
from tests.paths import TESTS

DATA = TESTS / "data" / "mxnet"

needs_golden = pytest.mark.skipif(
    "KERAS_FACEALIGN_GOLDEN" not in os.environ,
    reason="KERAS_FACEALIGN_GOLDEN does not name the folder with mxnet/protocol_dfa.npz",
)


@pytest.fixture(scope="module")
def golden():
    with np.load(DATA / "protocol_dfa.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


@pytest.fixture(scope="module")
def complete():
    path = Path(os.environ["KERAS_FACEALIGN_GOLDEN"]) / "mxnet" / "protocol_dfa.npz"
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def same_picture(found, expected):
    """Equal but for the rounding of OpenCV's versions, which is one level at most."""
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.1


def placed(block, corner, size=384):
    image = np.zeros((size, size, 3), "uint8")
    image[corner : corner + len(block), corner : corner + len(block)] = block
    return image


def check_geometry(golden):
    landmarks = golden["landmarks_xy"]
    for i, (rotation, scale) in enumerate(golden["tf_combos_rot_scale"]):
        matrix = legacy_crops.rotation_matrix(rotation, scale)
        np.testing.assert_allclose(matrix, golden["tf_M"][i], atol=1e-12)
        np.testing.assert_allclose(
            legacy_crops.move(matrix, landmarks), golden["tf_pts"][i], atol=1e-12
        )
    for scale in (2.0, 1.2):
        found = [legacy_crops.box_matrix(box, scale) for box in golden["bbox"]]
        np.testing.assert_allclose(found, golden[f"bbox_M_s{scale}"], atol=1e-12)
    first = legacy_crops.align_matrix(landmarks)
    # float32 sums may run in another order on another machine.
    np.testing.assert_allclose(first, golden["pre_M"], atol=5e-5)
    aligned = legacy_crops.move(first, landmarks)
    np.testing.assert_allclose(aligned, golden["pre_pts"], atol=5e-5)
    for name in ("ibug", "cofw_testset", "300W", "AFLW2000-3D"):
        found = legacy_crops.landmarks_matrix(golden["pre_pts"], name)
        np.testing.assert_allclose(found, golden[f"t2_M_{name}"], atol=1e-12)


def check_labels(golden):
    for sigma, peak in ((0, 1.0), (1, 20.0), (2, 20.0)):
        maps = legacy_crops.label_maps(golden["g_pts_xy"], sigma, peak)
        np.testing.assert_allclose(maps, golden[f"g_sigma{sigma}"], rtol=1e-6)
    points = golden["tf_pts"][0] / 2
    for name, moved in (("noflip", points), ("flip", legacy_crops.mirror_points(points))):
        peaks = legacy_crops.label_maps(moved, 1).reshape(68, -1).argmax(axis=1)
        np.testing.assert_array_equal(peaks, golden[f"{name}_label_argmax"])


def check_errors(golden):
    # In training: both sides are whole pixels of the crop, the mean runs over the batch.
    truth, found = (
        golden[f"nme_{key}_argmax_yx"][..., ::-1].astype(float) for key in ("lab128", "pred_up")
    )
    for i in range(2):
        np.testing.assert_array_equal(np.trunc(golden["tf_pts"][i]), truth[i])
    cal = [nme(found, truth, key).mean() / 100 for key in ("eye_corner_center", "box_size")]
    np.testing.assert_allclose(cal, [golden["nme_cal_2d"], golden["nme_cal_3d"]], rtol=1e-7)
    # In the test script: in record pixels.
    sets = (golden["nme_pred_xy"][None], golden["landmarks_xy"][None])
    record = [nme(*sets, key)[0] / 100 for key in ("eye_corner_center", "box_size")]
    expected = [golden["nme_calculate_2d"], golden["nme_calculate_3d"]]
    np.testing.assert_allclose(record, expected, rtol=1e-7)


def test_part_of_the_golden_file(golden):
    check_geometry(golden)
    check_labels(golden)
    check_errors(golden)


def test_blocks_of_pictures(golden):
    image = placed(golden["img_block"], 140)
    crop = legacy_crops.warp(image, golden["tf_M"][1], 128)
    same_picture(crop[50:80, 50:80], golden["tf_crop_block"])
    aligned = legacy_crops.warp(image, golden["pre_M"], 384)
    same_picture(aligned[150:215, 150:215], golden["pre_img_block"][5:70, 5:70])
    crop = legacy_crops.warp(placed(golden["pre_img_block"], 145), golden["t2_M_ibug"], 128)
    same_picture(crop[45:75, 45:75], golden["t2_crop_ibug_block"])


@needs_golden
def test_complete_golden_file(complete):
    check_geometry(complete)
    check_labels(complete)
    check_errors(complete)
    image, landmarks = complete["img"], complete["landmarks_xy"]
    for i, matrix in enumerate(complete["tf_M"]):
        same_picture(legacy_crops.warp(image, matrix, 128), complete["tf_crop"][i])
    np.testing.assert_array_equal(complete["flip_img"], complete["tf_crop"][0][:, ::-1])
    same_picture(legacy_crops.warp(image, complete["pre_M"], 384), complete["pre_img"])
    # The box itself is not in the file: it is one of 260 pixels around (190, 200).
    found = legacy_crops.box_matrix(np.array([60, 80, 320, 320]))
    np.testing.assert_allclose(found, complete["t2_M_bbox"], atol=1e-12)
    same_picture(legacy_crops.warp(complete["pre_img"], found, 128), complete["t2_crop_bbox"])
    for name in ("ibug", "cofw_testset", "300W", "AFLW2000-3D"):
        crop, matrix = MXNetProtocol(image_set=name).crop(image, landmarks)
        same_picture(crop, complete[f"t2_crop_{name}"])
        both = complete[f"t2_M_{name}"] @ np.vstack([complete["pre_M"], [0, 0, 1]])
        np.testing.assert_allclose(matrix, both, atol=1e-4)
    maps = np.moveaxis(complete["hm"], 0, -1)
    decoded = legacy_crops.decode_maps(maps)
    np.testing.assert_array_equal(decoded[:, ::-1], complete["hm_argmax_yx"][:8])
    assert json.loads(str(complete["versions"]))["python"].startswith("3.")


def test_decoding():
    with np.load(DATA / "decode.npz", allow_pickle=False) as file:
        keys = sorted(file.files)
        arrays = {key: file[key] for key in keys}
    (maps,) = [a for a in arrays.values() if a.ndim > 2]
    (peaks,) = [a for a in arrays.values() if a.ndim == 2]
    maps = maps if maps.shape[-1] == 8 else np.moveaxis(maps.reshape(8, 64, 64), 0, -1)
    np.testing.assert_array_equal(legacy_crops.decode_maps(maps)[:, ::-1], peaks)


# ---- the whole protocol ---------------------------------------------------------------------


def labels(seed=3):
    """68 points about the middle of a record with eyes, nose and mouth where faces have them."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(110, 270, (68, 2))
    points[36:42] = np.array([150, 160]) + rng.uniform(-8, 8, (6, 2))
    points[42:48] = np.array([230, 158]) + rng.uniform(-8, 8, (6, 2))
    points[30], points[48], points[54] = (191, 205), (160, 240), (222, 242)
    return points


def example(points, size=384, visibility=None, name="a.png"):
    return SimpleNamespace(
        image=np.zeros((size, size, 3), "uint8"),
        landmarks=points,
        visibility=np.full(68, 2) if visibility is None else visibility,
        file_name=name,
        subset="",
    )


def maps_at(pixels):
    """Maps (1, 64, 64, 68) with one highest pixel each."""
    maps = np.zeros((1, 64, 64, 68), "float32")
    for k, (x, y) in enumerate(pixels.astype(int)):
        maps[0, y, x, k] = 5
    return maps


@pytest.mark.parametrize(("variant", "dimensions"), [("dfa", 2), ("dfa", 3), ("insightface", 3)])
def test_error_of_a_known_model(variant, dimensions):
    points = labels()
    protocol = MXNetProtocol(variant, dimensions)
    _, matrix = protocol.crop(np.zeros((384, 384, 3), "uint8"), points)
    inside = legacy_crops.move(matrix, points)
    report = protocol.evaluate(
        lambda crops: maps_at(np.clip(inside // 2, 0, 63)), [example(points)]
    )

    # By hand, in crop pixels, as far as the normalizer does not depend on the rotation.
    peak = np.clip(inside // 2, 0, 63) * 2
    decoded = np.stack([legacy_crops.decode_maps(maps_at(peak // 2)[0])])[0]
    assert np.abs(decoded - peak).max() <= 1
    rounded = np.round(inside) if (variant, dimensions) == ("dfa", 3) else np.floor(inside)
    back, truth = (legacy_crops.move(invert(matrix), p) for p in (decoded, rounded))
    distance = np.hypot(*(back - truth).T).mean()
    if dimensions == 2:
        eyes = [truth[[36, 39]].mean(axis=0), truth[[42, 45]].mean(axis=0)]
        length = np.hypot(*(eyes[0] - eyes[1]))
    else:
        width, height = np.ptp(truth, axis=0)
        length = np.sqrt(width * height) if variant == "dfa" else np.hypot(width, height)
    summary = report.summary()
    mean = summary["nme"][protocol.normalizer]["mean"]
    assert mean == pytest.approx(100 * distance / length, rel=1e-9)
    assert 0 < mean < 3
    assert summary["normalizer"] == protocol.normalizer
    assert (summary["protocol"], summary["variant"]) == ("legacy_mxnet", variant)


def test_insightface_zooms_out_until_all_is_inside():
    protocol = MXNetProtocol("insightface")
    points = labels()
    points[0] = 192 + 145, 192  # needs a square of 290 pixels at least
    crop, matrix = protocol.crop(np.zeros((384, 384, 3), "uint8"), points)
    assert crop.shape == (128, 128, 3)
    assert matrix[0, 0] == pytest.approx(128 / 296)
    points[0] = 192 + 180, 192  # more than the last try's 356
    kept = protocol.predictions(lambda crops: 1 / 0, [example(points)])
    assert (kept.missed, len(kept)) == (["a.png"], 1)


def test_pictures_of_other_sizes_become_records():
    points = labels() * 3 + 40
    image = np.zeros((1300, 1250, 3), "uint8")
    image[:, :, 1] = 90
    record, moved, matrix = legacy_crops.to_record(image, points)
    assert record.shape == (384, 384, 3)
    assert np.ptp(moved, axis=0).max() == pytest.approx(200, abs=0.01)
    middle = (moved.min(axis=0) + moved.max(axis=0)) / 2
    np.testing.assert_allclose(middle, 191.5, atol=0.01)
    np.testing.assert_allclose(legacy_crops.move(matrix, points), moved)
    assert (record[150:230, 150:230] == (0, 90, 0)).all()


def test_keras_model_is_taken_as_it_is():
    import keras

    inputs = keras.Input((128, 128, 3))
    small = keras.layers.AveragePooling2D(2)(keras.layers.Rescaling(1 / 255)(inputs))
    outputs = [keras.layers.Conv2D(68, 1)(small) for _ in range(2)]
    model = keras.Model(inputs, outputs)
    examples = [example(labels(seed), name=f"{seed}.png") for seed in (1, 2, 3)]
    kept = MXNetProtocol().predictions(model, examples, batch_size=2)
    arrays = kept.arrays()
    assert arrays["prediction"].shape == (3, 68, 2)
    assert arrays["file_names"].tolist() == ["1.png", "2.png", "3.png"]
    assert (arrays["confidence"] <= 1).all()


def test_examples_may_be_mappings():
    face = {**vars(example(labels())), "file_name": b"a.png"}
    kept = MXNetProtocol().predictions(lambda crops: np.zeros((1, 64, 64, 68)), [face])
    assert kept.file_names == ["a.png"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"landmarks": np.zeros((29, 2))}, r"a.png: .*shape \(29, 2\)"),
        ({"visibility": np.zeros(68)}, "a.png: .*without a position"),
        ({"landmarks": np.full((68, 2), 5.0)}, "a.png: .*coincide"),
    ],
)
def test_labels_it_cannot_use(change, words):
    faces = [SimpleNamespace(**{**vars(example(labels())), **change})]
    with pytest.raises(FaceAlignError, match=words):
        MXNetProtocol().predictions(lambda crops: None, faces)


def test_wrong_settings_and_wrong_maps():
    with pytest.raises(FaceAlignError, match="variant 'sdu'"):
        MXNetProtocol("sdu")
    with pytest.raises(FaceAlignError, match="dimensions is 4"):
        MXNetProtocol(dimensions=4)
    with pytest.raises(FaceAlignError, match=r"\(1, 32, 32, 68\)"):
        MXNetProtocol().evaluate(lambda crops: np.zeros((1, 32, 32, 68)), [example(labels())])
