"""The original code's evaluation, step by step against numbers that it wrote.

`tests/data/mxnet/protocol_dfa.npz` is a part of the file that KERAS_FACEALIGN_GOLDEN names as
`mxnet/protocol_dfa.npz`; pictures are blocks of noise in it. With the variable set the complete
file is checked too.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from keras_facealign.evaluation import MXNetProtocol, nme
from keras_facealign.evaluation.legacy_mxnet import crops as legacy_crops
from tests.evaluation.legacy_mxnet.test_protocol import labels
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
