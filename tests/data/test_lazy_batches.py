"""Batches from a TFDS data set are those that `FaceBatches` makes of the same files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from keras_facealign.data import (
    BoxJitter,
    FaceBatches,
    LazyFaceBatches,
    from_tfds,
    tf_dataset_from_tfds,
)
from keras_facealign.data.readers import ibug_300w
from keras_facealign.errors import FaceAlignError
from tests.paths import ROOT

tfds = pytest.importorskip("tensorflow_datasets", reason="needs keras-facealign[tfds]")

FILES = ROOT / "tfds_builders" / "ibug_300w" / "dummy_data"


def build(data_dir: Path, file_format: str | None) -> str:
    import tfds_builders  # noqa: F401

    builder = tfds.builder("ibug_300w", data_dir=data_dir, file_format=file_format)
    config = tfds.download.DownloadConfig(manual_dir=FILES)
    builder.download_and_prepare(download_config=config)
    return str(data_dir)


@pytest.fixture(scope="module")
def array_record(tmp_path_factory):
    pytest.importorskip("array_record", reason="array_record has no wheel for this platform")
    return build(tmp_path_factory.mktemp("array_record"), "array_record")


@pytest.fixture(scope="module")
def tfrecord(tmp_path_factory):
    return build(tmp_path_factory.mktemp("tfrecord"), None)


@pytest.fixture(scope="module")
def expected():
    """The faces of the training split, cropped from the files."""
    batches = FaceBatches(ibug_300w.load_samples(FILES, "train"), batch_size=6)
    return by_landmark(batches[0])


def by_landmark(*batches: dict[str, np.ndarray]) -> dict[float, dict[str, np.ndarray]]:
    rows = [
        {name: np.asarray(values[i]) for name, values in batch.items()}
        for batch in batches
        for i in range(len(batch["image"]))
    ]
    # Every drawing is turned by an angle of its own.
    found = {round(float(row["landmarks"][16, 1] - row["landmarks"][0, 1]), 1): row for row in rows}
    assert len(found) == len(rows)
    return found


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for key, row in found.items():
        np.testing.assert_allclose(row["landmarks"], expected[key]["landmarks"], atol=1e-3)
        np.testing.assert_array_equal(row["visibility"], expected[key]["visibility"])
        assert row["image"].dtype == np.uint8 and row["visibility"].dtype == np.float32
        # Two JPEG decoders differ a little at edges of color.
        difference = np.abs(row["image"].astype(int) - expected[key]["image"].astype(int))
        assert difference.mean() < 2


def test_stream_gives_the_faces_of_the_files(array_record, expected):
    faces = from_tfds("ibug_300w", "train", 4, data_dir=array_record)
    assert isinstance(faces, LazyFaceBatches)
    assert len(faces) == 2 and len(faces[0]["image"]) == 4 and len(faces[1]["image"]) == 2
    assert_same(by_landmark(faces[0], faces[1]), expected)


def test_tf_dataset_gives_the_faces_of_the_files(tfrecord, expected):
    faces = tf_dataset_from_tfds("ibug_300w", "train", 4, data_dir=tfrecord)
    assert int(faces.cardinality()) == 2
    assert faces.element_spec["image"].shape.as_list() == [None, 192, 192, 3]
    assert faces.element_spec["landmarks"].shape.as_list() == [None, 68, 2]
    assert_same(by_landmark(*faces.as_numpy_iterator()), expected)


def test_order_and_jitter_follow_seed_and_epoch(array_record):
    options = {"data_dir": array_record, "shuffle": True, "jitter": BoxJitter()}
    first = from_tfds("ibug_300w", "train", 4, seed=1, threads=1, **options)
    same = from_tfds("ibug_300w", "train", 4, seed=1, threads=4, **options)
    other = from_tfds("ibug_300w", "train", 4, seed=2, **options)
    assert len(first) == 1  # of six faces, the short batch is left out
    np.testing.assert_array_equal(first[0]["image"], same[0]["image"])
    assert np.abs(first[0]["landmarks"] - other[0]["landmarks"]).max() > 0.5
    before = first[0]["landmarks"]
    first.on_epoch_end()
    assert np.abs(first[0]["landmarks"] - before).max() > 0.5
    same.start_at(1)
    np.testing.assert_array_equal(first[0]["landmarks"], same[0]["landmarks"])


def test_tf_dataset_draws_anew_in_each_pass_and_repeats_with_its_seed(tfrecord):
    def passes(seed):
        faces = tf_dataset_from_tfds(
            "ibug_300w", "train", 6, data_dir=tfrecord, shuffle=True, jitter=BoxJitter(), seed=seed
        )
        return [next(faces.as_numpy_iterator())["landmarks"] for _ in range(2)]

    first, second = passes(3)
    assert np.abs(first - second).max() > 0.5
    for again, once in zip(passes(3), (first, second), strict=True):
        np.testing.assert_array_equal(again, once)
    assert np.abs(passes(4)[0] - first).max() > 0.5


@pytest.mark.parametrize(
    ("batch_size", "shuffle", "parts"), [(6, False, 2), (6, False, 3), (4, True, 2), (2, True, 2)]
)
def test_tf_dataset_shards_are_parts_of_the_whole_batches(tfrecord, batch_size, shuffle, parts):
    options = {"data_dir": tfrecord, "shuffle": shuffle, "jitter": BoxJitter(), "seed": 5}

    def make(**shard):
        return tf_dataset_from_tfds("ibug_300w", "train", batch_size, **options, **shard)

    whole, shards = make(), [make(shard=(index, parts)) for index in range(parts)]
    for shard in shards:
        assert int(shard.cardinality()) == 6 // batch_size
        # Known to TensorFlow, as several devices need it.
        sizes = {spec.shape[0] for spec in shard.element_spec.values()}
        assert sizes == {batch_size // parts}
    passes = []
    for _ in range(2):
        batches = list(whole.as_numpy_iterator())
        assert len(batches) == 6 // batch_size
        divided = zip(*(shard.as_numpy_iterator() for shard in shards), strict=True)
        for batch, rows in zip(batches, divided, strict=True):
            for name, values in batch.items():
                np.testing.assert_array_equal(np.concatenate([r[name] for r in rows]), values)
        passes.append(batches)
    assert np.abs(passes[0][0]["landmarks"] - passes[1][0]["landmarks"]).max() > 0.5
    # A process that begins again draws what it drew at first.
    again = next(make(shard=(1, parts)).as_numpy_iterator())
    share = batch_size // parts
    np.testing.assert_array_equal(again["image"], passes[0][0]["image"][share : 2 * share])


def test_tf_dataset_shards_refuse_a_short_batch_and_no_shard(tfrecord):
    options = {"data_dir": tfrecord}
    with pytest.raises(FaceAlignError, match="6 faces leave a short batch of 2, .* divides 6"):
        tf_dataset_from_tfds("ibug_300w", "train", 4, shard=(0, 2), **options)
    with pytest.raises(FaceAlignError, match="short batch of 6"):  # the only one, also shuffled
        tf_dataset_from_tfds("ibug_300w", "train", 8, shard=(0, 2), shuffle=True, **options)
    with pytest.raises(FaceAlignError, match="shard"):
        tf_dataset_from_tfds("ibug_300w", "train", 6, shard=(2, 2), **options)
    with pytest.raises(FaceAlignError, match="batch_size|shard"):
        tf_dataset_from_tfds("ibug_300w", "train", 3, shard=(0, 2), **options)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_large_jpeg_decoded_small_gives_the_same_crop(factor):
    """A face much larger than the crop, decoded at a part of its resolution and in full."""
    rng = np.random.default_rng(factor)
    small = rng.integers(0, 256, (24, 30, 3), np.uint8)
    image = cv2.resize(small, (300 * factor + 3, 240 * factor + 5), interpolation=cv2.INTER_CUBIC)
    encoded = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    box = np.array([60, 40, 165, 145], np.float32) * factor
    fields = {
        "landmarks": rng.uniform(box[:2], box[2:], (68, 2)).astype(np.float32),
        "visibility": np.ones(68, np.int32),
        "box": box,
        "file_name": "drawn.jpg",
    }
    full = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    (reduced,) = by_landmark(LazyFaceBatches([{**fields, "image": encoded}])[0]).values()
    (whole,) = by_landmark(FaceBatches([{**fields, "image": full}])[0]).values()
    np.testing.assert_allclose(reduced["landmarks"], whole["landmarks"], atol=1e-3)
    # Within the picture: its border is where a crop fades to black.
    inner = np.s_[40:-40, 40:-40]
    difference = np.abs(reduced["image"][inner].astype(int) - whole["image"][inner].astype(int))
    assert difference.mean() < 1.5
    shifted = np.abs(np.roll(reduced["image"], 1, 1)[inner].astype(int) - whole["image"][inner])
    assert shifted.mean() > 2 * difference.mean()


def test_damaged_picture_is_named():
    example = {
        "image": b"\xff\xd8 no picture",
        "landmarks": np.zeros((68, 2), np.float32),
        "visibility": np.ones(68),
        "box": np.array([0, 0, 9, 9]),
        "file_name": b"helen/1.jpg",
    }
    with pytest.raises(FaceAlignError, match=r"helen/1\.jpg: the stored image is damaged"):
        LazyFaceBatches([example])[0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"visibility": [2, 7]}, "helen/1.jpg: the visibility of landmark 1 is 7"),
        ({"visibility": [2, -1]}, "landmark 1 is -1"),
        ({"visibility": [2, np.nan]}, "landmark 1 is nan"),
        ({"visibility": [2, 2, 2]}, "do not fit"),
        ({"landmarks": [[1, 2], [np.inf, 3]]}, "landmark 1 has visibility 2 but is not finite"),
        ({"box": [5, 5, 5, 9]}, "box .* has no area"),
        ({"box": [9, 5, 5, 9]}, "box .* has no area"),
        ({"box": [np.nan, 5, 5, 9]}, "box .* has no area"),
        ({"image": np.zeros((9, 9, 3), np.float32)}, "image is float32"),
        ({"image": np.zeros((9, 9), np.uint8)}, r"image is uint8 \(9, 9\)"),
    ],
)
@pytest.mark.parametrize("jitter", [None, BoxJitter()])
def test_labels_that_cannot_be_are_named(changed, message, jitter):
    example = {
        "image": np.zeros((20, 20, 3), np.uint8),
        "landmarks": [[1, 2], [8, 7]],
        "visibility": [2, 2],
        "box": [0, 0, 9, 9],
        "file_name": b"helen/1.jpg",
    }
    with pytest.raises(FaceAlignError, match=message):
        LazyFaceBatches([{**example, **changed}], jitter=jitter)[0]
    three = {**example, "landmarks": [[1, 2]] * 3, "visibility": [2] * 3}
    with pytest.raises(FaceAlignError, match="one landmark scheme at a time"):
        LazyFaceBatches([example, three], 2, jitter=jitter)[0]
    with pytest.raises(FaceAlignError, match="threads is -1"):
        LazyFaceBatches([example], threads=-1)


def test_what_cannot_be_read_is_explained(array_record, tfrecord, tmp_path):
    with pytest.raises(
        FaceAlignError, match="ibug_300w is not built in .*; run download_and_prepare"
    ):
        from_tfds("ibug_300w", data_dir=tmp_path)
    with pytest.raises(FaceAlignError, match="built without the split 'val'; it has train"):
        tf_dataset_from_tfds("ibug_300w", "val", data_dir=tfrecord)
    with pytest.raises(FaceAlignError, match="There is no data set 'ibug_301w'"):
        from_tfds("ibug_301w")
    with pytest.raises(FaceAlignError, match='build it with file_format="array_record"'):
        from_tfds("ibug_300w", data_dir=tfrecord)
    with pytest.raises(FaceAlignError, match="format that TensorFlow does not read"):
        tf_dataset_from_tfds("ibug_300w", data_dir=array_record)
    with pytest.raises(FaceAlignError, match="batch_size is 0"):
        from_tfds("ibug_300w", "train", 0, data_dir=array_record)
    with pytest.raises(FaceAlignError, match="no examples"):
        LazyFaceBatches([])
    with pytest.raises(FaceAlignError, match="use_multiprocessing=True"):
        LazyFaceBatches([{}], use_multiprocessing=True)


def test_keras_reads_ahead_in_order(array_record):
    """Through Keras's own loop: what a model is given are the batches in their order."""
    faces = from_tfds("ibug_300w", "train", 2, data_dir=array_record, workers=2)
    expected = [faces[i]["landmarks"][:, 16, 1] for i in range(3)]

    class Reader(keras.Model):
        def predict_step(self, data):
            return data["landmarks"][:, 16, 1]

    model = Reader()
    model.compile(run_eagerly=True)
    np.testing.assert_array_equal(model.predict(faces, verbose=0), np.concatenate(expected))


def test_a_part_of_a_split(array_record):
    faces = from_tfds("ibug_300w", "train[:50%]", 16, data_dir=array_record)
    assert len(faces[0]["image"]) == 3


def test_array_record_is_read_without_tensorflow(array_record):
    code = (
        "import sys; from keras_facealign.data import from_tfds; "
        f"batch = from_tfds('ibug_300w', 'train', 6, data_dir={array_record!r})[0]; "
        "print(batch['image'].shape, 'tensorflow' in sys.modules)"
    )
    environment = {**os.environ, "KERAS_BACKEND": "numpy"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.split("\n")[-2] == "(6, 192, 192, 3) False"
