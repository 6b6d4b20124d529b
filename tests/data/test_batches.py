"""Training batches: where landmarks land in the crops, and what seeds, epochs and jitter decide."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_facealign.data.batches import (
    BORDER,
    BoxJitter,
    FaceBatches,
    as_tf_dataset,
    crop_with_border,
)
from keras_facealign.data.examples import FaceExample
from keras_facealign.data.lazy_batches import LazyFaceBatches
from keras_facealign.errors import FaceAlignError
from keras_facealign.geometry import CROP_SCALE, landmarks_box

K = 5


def example(index=0, **changes):
    """A picture with a bright dot at each of five landmarks, far apart."""
    rng = np.random.default_rng(index)
    corners = np.array([[0, 0], [1, 0.1], [0.5, 0.5], [0.1, 1], [0.9, 0.9]])
    landmarks = [70, 60] + corners * rng.uniform(80, 110) + rng.uniform(-5, 5, (K, 2))
    rows, columns = np.mgrid[:240, :260]
    image = np.zeros((240, 260))
    for x, y in landmarks:
        image += 250 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 1.5**2))
    return {
        "image": np.repeat(np.rint(image).astype("uint8")[..., None], 3, axis=2),
        "landmarks": landmarks.astype("float32"),
        "visibility": np.full(K, 2, "int32"),
        "box": landmarks_box(landmarks),
        "file_name": f"face_{index}.png",
        **changes,
    }


def examples(count):
    return [example(i) for i in range(count)]


def epoch_of(batches):
    """All landmarks of an epoch, in its order."""
    return np.concatenate([batches[i]["landmarks"] for i in range(len(batches))])


def dot_near(crop, point, reach=6):
    """Center of mass of the brightness around a point, (x, y)."""
    rows, columns = np.mgrid[: crop.shape[0], : crop.shape[1]]
    near = (np.abs(columns - point[0]) < reach) & (np.abs(rows - point[1]) < reach)
    mass = crop[..., 0] * near
    return np.array([np.sum(mass * columns), np.sum(mass * rows)]) / mass.sum()


# ---- geometry -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [128, 64])
def test_landmarks_stay_on_their_pixels(size):
    face = example()
    crop, points = crop_with_border(face["image"], face["landmarks"], face["box"], size)
    side = size + 2 * BORDER
    assert (crop.shape, crop.dtype) == ((side, side, 3), np.uint8)
    assert (points.shape, points.dtype) == ((K, 2), np.float32)
    for point in points:
        np.testing.assert_allclose(dot_near(crop, point), point, atol=0.15)
    # The box, with its margin, fills the middle and not the border of 32 pixels.
    x0, y0, x1, y1 = face["box"]
    center, longer = np.array([x0 + x1, y0 + y1]) / 2, max(x1 - x0, y1 - y0)
    expected = (face["landmarks"] - center) * size / (CROP_SCALE * longer) + (side - 1) / 2
    np.testing.assert_allclose(points, expected, atol=1e-3)


def test_batches_hold_the_crops_in_order():
    faces = examples(5)
    batches = FaceBatches(faces, batch_size=2)
    assert len(batches) == 3
    shapes = [{name: array.shape for name, array in batches[i].items()} for i in range(3)]
    assert shapes[0] == {"image": (2, 192, 192, 3), "landmarks": (2, K, 2), "visibility": (2, K)}
    assert shapes[2]["image"] == (1, 192, 192, 3)
    for i, face in enumerate(faces):
        batch, j = batches[i // 2], i % 2
        crop, points = crop_with_border(face["image"], face["landmarks"], face["box"])
        np.testing.assert_array_equal(batch["image"][j], crop)
        np.testing.assert_array_equal(batch["landmarks"][j], points)
        assert batch["visibility"].dtype == np.float32


def test_examples_may_be_objects_and_names_bytes():
    face = example()
    as_object = FaceExample(**face, subset="afw")
    as_tfds = {**face, "file_name": b"afw/face.png", "subset": b"afw"}
    batches = FaceBatches([face, as_object, as_tfds], batch_size=3)
    assert batches.file_names == ["face_0.png", "face_0.png", "afw/face.png"]
    images = batches[0]["image"]
    np.testing.assert_array_equal(images[0], images[1])
    np.testing.assert_array_equal(images[0], images[2])


def test_hidden_landmarks_may_be_nan():
    face = example(visibility=np.array([2, 0, 1, 1, 2]))
    face["landmarks"][1] = np.nan
    batch = FaceBatches([face], batch_size=1)[0]
    np.testing.assert_array_equal(batch["visibility"][0], [2, 0, 1, 1, 2])
    np.testing.assert_array_equal(np.isfinite(batch["landmarks"][0]).all(axis=1), [1, 0, 1, 1, 1])


# ---- order ----------------------------------------------------------------------------------


def test_shuffling_is_seeded_and_each_epoch_has_its_order():
    batches = {
        seed: FaceBatches(examples(7), batch_size=2, shuffle=True, seed=seed) for seed in (1, 2)
    }
    same = FaceBatches(examples(7), batch_size=2, shuffle=True, seed=1)
    # The seventh face is left out, so that all batches have one size.
    assert len(same) == 3
    first = epoch_of(same)
    np.testing.assert_array_equal(first, epoch_of(batches[1]))
    assert (first != epoch_of(batches[2])).any()
    same.on_epoch_end()
    second = epoch_of(same)
    assert (first != second).any()
    # A resumed run sees what the uninterrupted one saw.
    batches[1].start_at(1)
    np.testing.assert_array_equal(epoch_of(batches[1]), second)


def test_every_face_comes_once_an_epoch():
    faces = examples(6)
    plain = epoch_of(FaceBatches(faces, batch_size=3))
    shuffled = epoch_of(FaceBatches(faces, batch_size=3, shuffle=True))
    assert sorted(map(bytes, plain)) == sorted(map(bytes, shuffled))


def test_fewer_faces_than_a_batch_still_train():
    batches = FaceBatches(examples(2), batch_size=16, shuffle=True)
    assert len(batches) == 1
    assert batches[0]["image"].shape[0] == 2


# ---- jitter ---------------------------------------------------------------------------------


def test_jitter_has_the_spread_it_promises():
    jitter, rng = BoxJitter(shift=0.05, log_scale=0.08), np.random.default_rng(0)
    box = np.array([100, 50, 180, 150], np.float32)
    drawn = np.stack([jitter.apply(box, rng) for _ in range(4000)]).astype(float)
    centers = (drawn[:, :2] + drawn[:, 2:]) / 2
    sizes = drawn[:, 2:] - drawn[:, :2]
    shifts = (centers - [140, 100]) / 100
    scales = np.log(sizes[:, 1] / 100)
    # The shape stays, only place and size stray.
    np.testing.assert_allclose(sizes[:, 0] / sizes[:, 1], 0.8, rtol=1e-4)
    for values, deviation in ((shifts[:, 0], 0.05), (shifts[:, 1], 0.05), (scales, 0.08)):
        # Cutting at 2.5 takes 4 % off a Gaussian's deviation.
        assert np.std(values) == pytest.approx(deviation, rel=0.07)
        assert abs(np.mean(values)) < 0.06 * deviation
        assert np.abs(values).max() == pytest.approx(2.5 * deviation, rel=1e-3)
    assert abs(np.corrcoef(shifts[:, 0], shifts[:, 1])[0, 1]) < 0.06


def test_jittered_crops_move_with_their_landmarks():
    faces = examples(4)
    plain = FaceBatches(faces, batch_size=4)[0]
    jitter = BoxJitter()
    batches = FaceBatches(faces, batch_size=4, jitter=jitter, seed=3)
    first = batches[0]
    for crop, points in zip(first["image"], first["landmarks"], strict=True):
        for point in points:
            np.testing.assert_allclose(dot_near(crop, point), point, atol=0.2)
    middle = np.abs(first["landmarks"].mean(axis=1) - plain["landmarks"].mean(axis=1))
    assert middle.max() > 1
    # 2.5 deviations of the box's side, which is 128 / 1.3 pixels; some more where it grew.
    assert middle.max() < 2.5 * jitter.shift * 128 / CROP_SCALE * 1.3

    again = FaceBatches(faces, batch_size=4, jitter=jitter, seed=3)
    np.testing.assert_array_equal(again[0]["landmarks"], first["landmarks"])
    np.testing.assert_array_equal(again[0]["landmarks"], first["landmarks"])
    other = FaceBatches(faces, batch_size=4, jitter=jitter, seed=4)
    assert (other[0]["landmarks"] != first["landmarks"]).all()
    again.on_epoch_end()
    second = again[0]["landmarks"]
    assert (second != first["landmarks"]).all()
    other = FaceBatches(faces, batch_size=4, jitter=jitter, seed=3)
    other.start_at(1)
    np.testing.assert_array_equal(other[0]["landmarks"], second)


def test_jitter_is_a_faces_own_wherever_shuffling_puts_it():
    faces = examples(6)
    in_order = epoch_of(FaceBatches(faces, 2, jitter=BoxJitter(), seed=3))
    shuffled = epoch_of(FaceBatches(faces, 2, jitter=BoxJitter(), seed=3, shuffle=True))
    assert sorted(map(bytes, in_order)) == sorted(map(bytes, shuffled))


# ---- bad input ------------------------------------------------------------------------------


def with_nan():
    face = example()
    face["landmarks"][3, 1] = np.nan
    return face


@pytest.mark.parametrize("jitter", [None, BoxJitter()])
@pytest.mark.parametrize(
    ("face", "message"),
    [
        (with_nan(), "face_0.png.*not finite.*visibility"),
        (example(image=np.zeros((9, 9, 3))), r"face_0.png: image is float64 \(9, 9, 3\)"),
        (example(image=np.zeros((9, 9), "uint8")), r"face_0.png: image is uint8 \(9, 9\)"),
        (example(image=np.zeros((0, 9, 3), "uint8")), r"face_0.png: image is uint8 \(0, 9, 3\)"),
        (example(landmarks=np.zeros((4, 2))), r"face_0.png: landmarks \(4, 2\).*\(5,\)"),
        (example(box=[10, 10, 10, 40]), r"face_0.png: box \[10.0, 10.0, 10.0, 40.0\] has no area"),
        (example(box=[10, 10, 5, 40]), "face_0.png: box .* has no area"),
        (example(box=[10, 10, np.nan, 40]), "face_0.png: box .*nan.* has no area"),
        (example(box=[10, 40]), r"face_0.png: box \[10.0, 40.0\]"),
        (example(box=["a", 1, 2, 3]), "face_0.png: box .* is not four numbers"),
        (example(visibility=np.array([2, 7, 2, 2, 2])), "face_0.png: the visibility .* 1 is 7"),
        (example(visibility=np.array([2, 2, -1, 2, 2])), "face_0.png: the visibility .* 2 is -1"),
        (example(visibility=np.full(5, np.nan)), "face_0.png: the visibility .* 0 is nan"),
        (example(landmarks=np.full((5, 2), np.inf)), "face_0.png: landmark 0 .* not finite"),
        ({"image": np.zeros((9, 9, 3), "uint8")}, r"lacks 'landmarks'.*\['image'\]"),
    ],
)
def test_damaged_examples_are_named_before_training(face, message, jitter):
    with pytest.raises(FaceAlignError, match=message):
        FaceBatches([example(1), face], batch_size=1, jitter=jitter)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"batch_size": 2.5}, "batch_size is 2.5; it must be an integer"),
        ({"batch_size": True}, "batch_size is True"),
        ({"batch_size": "2"}, "batch_size is '2'"),
        ({"seed": -1}, "seed is -1; it must be an integer, from 0 to 4294967295"),
        ({"seed": 0.5}, "seed is 0.5"),
        ({"input_size": 0}, "input_size is 0"),
        ({"input_size": 10**9}, "input_size is 1000000000"),
    ],
)
def test_numbers_that_cannot_be(options, message):
    with pytest.raises(FaceAlignError, match=message):
        FaceBatches(examples(1), **options)
    with pytest.raises(FaceAlignError, match=message):
        LazyFaceBatches(examples(1), **options)


@pytest.mark.parametrize("name", ["shift", "log_scale"])
@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf])
def test_jitter_that_cannot_be(name, value):
    with pytest.raises(FaceAlignError, match=f"{name} is {value}"):
        BoxJitter(**{name: value})


def test_one_landmark_scheme_at_a_time():
    points = example()["landmarks"]
    other = example(landmarks=points[:4], visibility=np.ones(4), file_name="other.png")
    with pytest.raises(FaceAlignError, match=r"other.png: has 4 landmarks.*face_0.png has 5"):
        FaceBatches([example(), other])


def test_no_examples_and_no_batch():
    with pytest.raises(FaceAlignError, match="no examples"):
        FaceBatches(iter(()))
    with pytest.raises(FaceAlignError, match="batch_size is 0"):
        FaceBatches(examples(1), batch_size=0)


# ---- tf.data --------------------------------------------------------------------------------


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.data is for the TensorFlow backend"
)
def test_tf_dataset_gives_the_same_batches_epoch_after_epoch():
    settings = {"batch_size": 2, "shuffle": True, "seed": 1, "jitter": BoxJitter()}
    dataset = as_tf_dataset(FaceBatches(examples(5), **settings))
    assert int(dataset.cardinality()) == 2
    twin = FaceBatches(examples(5), **settings)
    for _ in range(2):
        seen = list(dataset.as_numpy_iterator())
        assert len(seen) == 2
        for index, batch in enumerate(seen):
            assert set(batch) == {"image", "landmarks", "visibility"}
            for name, array in twin[index].items():
                np.testing.assert_array_equal(batch[name], array)
                assert batch[name].dtype == array.dtype
        twin.on_epoch_end()
