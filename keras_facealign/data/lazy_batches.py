"""Training batches from a TFDS data set, which need not fit in memory.

`from_tfds` reads array_record files, in any order and without TensorFlow; `tf_dataset_from_tfds`
reads TFDS's default format as a `tf.data.Dataset`. Their batches are like those of `FaceBatches`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from keras_facealign import geometry
from keras_facealign._opencv import cv2
from keras_facealign.data.batches import (
    BORDER,
    MAX_INPUT_SIZE,
    BoxJitter,
    checked_example,
    crop_with_border,
)
from keras_facealign.data.epochs import (
    EpochBatches,
    check_batch_size,
    check_integer,
    checked_shard,
    stack_faces,
)
from keras_facealign.data.files import import_extra
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.reading import one_line

_REDUCED = {
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
# Encoded images in the shuffle buffer of a tf.data pipeline.
_SHUFFLE_BUFFER = 2048


class LazyFaceBatches(EpochBatches):
    """Batches of cropped faces, read and cropped on demand.

    Equal seeds give equal batches, whatever the number of threads.

    Args:
        source: Random access to examples with the keys image (encoded bytes, or uint8 (H, W, 3)
            RGB), landmarks (K, 2), visibility (K,), box (4,) and file_name, as a TFDS data source
            gives them.
        batch_size: Faces in a batch.
        input_size: Side of the network's input in pixels.
        shuffle: Whether to shuffle in each epoch and drop a last short batch.
        jitter: Random change of the boxes in each epoch, or None for unchanged boxes.
        seed: Integer.
        threads: Faces of a batch cropped in parallel. Default: the number of cores.
        **kwargs: `shard`, see `EpochBatches`; and as for every `keras.utils.PyDataset`: `workers`
            (2 or more read ahead while the network trains), `max_queue_size`.

    Raises:
        FaceAlignError: There are no examples, a number is out of range, or `use_multiprocessing` is
            set; while reading, an example is damaged (the message names the file).

    Example:
        >>> image = np.zeros((64, 64, 3), np.uint8)
        >>> points = np.random.default_rng(0).uniform(20, 40, (68, 2))
        >>> example = {"image": image, "landmarks": points, "visibility": np.ones(68),
        ...            "box": np.array([20, 20, 40, 40]), "file_name": b"noise.png"}
        >>> LazyFaceBatches([example], batch_size=1)[0]["image"].shape
        (1, 192, 192, 3)
    """

    def __init__(
        self,
        source: Sequence[Mapping[str, Any]],
        batch_size: int = 16,
        input_size: int = 128,
        shuffle: bool = False,
        jitter: BoxJitter | None = None,
        seed: int = 0,
        threads: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(batch_size, shuffle, seed, **kwargs)
        if self.use_multiprocessing:
            raise FaceAlignError(
                "use_multiprocessing=True: a LazyFaceBatches has threads; leave it out."
            )
        if not len(source):
            raise FaceAlignError("There are no examples to make batches of; check the data set.")
        check_integer("input_size", input_size, 1, MAX_INPUT_SIZE)
        check_integer("threads", threads or 0, 0, 1024)
        self.input_size = input_size
        self.jitter = jitter
        self._source = source
        self._pool = ThreadPoolExecutor(threads or os.cpu_count() or 1)
        self._set_count(len(source))

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        faces = self._pool.map(self._face, map(int, self._chosen(index)))
        return self._marked(index, stack_faces(faces))

    def _face(self, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        example = checked_example(self._source[i])
        if self.jitter is not None:
            rng = np.random.default_rng([self.seed, self.epoch, i])
            example["box"] = self.jitter.apply(example["box"], rng)
        return _crop(example, self.input_size)


def from_tfds(
    builder: Any,
    split: str = "train",
    batch_size: int = 16,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    **kwargs: Any,
) -> LazyFaceBatches:
    """Training batches of a data set that was built with `file_format="array_record"`.

    TensorFlow is not needed.

    Args:
        builder: A TFDS builder, or the name of one, such as `"w300_lp/projected_3d"`.
        split: A split, or a part of one as TFDS writes it: `"train[:90%]"`.
        batch_size: Faces in a batch.
        data_dir: Where the data set was built, if `builder` is a name. Default: TFDS's own.
        **kwargs: `input_size`, `shuffle`, `jitter`, `seed`, `threads`, `shard`; see
            `LazyFaceBatches`.

    Returns:
        Batches for `FaceAlignModel.fit`.

    Raises:
        FaceAlignError: The data set is not built, has no such split, or has no random access.

    Example:
        >>> faces = from_tfds("ibug_300w", "train", 16, shuffle=True)  # doctest: +SKIP
        >>> model.fit(faces, epochs=60)  # doctest: +SKIP
    """
    builder = _builder(builder, data_dir)
    _check_split(builder, split)
    tfds = import_extra("tensorflow_datasets")
    try:
        source = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    except NotImplementedError as error:
        raise FaceAlignError(
            f"{builder.name} in {builder.data_path} has no random access; build it with "
            'file_format="array_record", or read it with tf_dataset_from_tfds'
        ) from error
    return LazyFaceBatches(source, batch_size, **kwargs)


def tf_dataset_from_tfds(
    builder: Any,
    split: str = "train",
    batch_size: int = 16,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    input_size: int = 128,
    shuffle: bool = False,
    jitter: BoxJitter | None = None,
    seed: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> Any:
    """Training batches of a built data set as a `tf.data.Dataset`. It needs TensorFlow.

    Args:
        builder: A TFDS builder, or the name of one.
        split: A split, or a part of one as TFDS writes it: `"train[:90%]"`.
        batch_size: Faces in a batch.
        data_dir: Where the data set was built, if `builder` is a name. Default: TFDS's own.
        input_size: Side of the network's input in pixels.
        shuffle: Whether to shuffle in each pass and drop a last short batch.
        jitter: Random change of the boxes, or None for unchanged boxes.
        seed: Integer; determines order and jitter. A resumed run starts with the order of the first
            pass; the order of `from_tfds` is that of the epoch.
        shard: (index, count) gives part `index` of every batch, see `EpochBatches`. A last short
            batch, which cannot be divided, is not accepted then.

    Returns:
        A prefetched data set of batches like those of `FaceBatches`. Their number of faces is known
        to TensorFlow where there is no short one.

    Raises:
        FaceAlignError: The data set is not built, has no such split, or is in array_record files,
            which TensorFlow does not read.
    """
    check_batch_size(batch_size)
    part, parts = checked_shard(shard, batch_size)
    builder = _builder(builder, data_dir)
    _check_split(builder, split)
    import tensorflow as tf

    names = ("image", "landmarks", "visibility", "box", "file_name")
    stored = _stored_records(builder, split, seed if shuffle else None, ordered=parts > 1)
    faces = stored.map(lambda record: tuple(record[name] for name in names))
    count = int(faces.cardinality())
    if shuffle:
        faces = faces.shuffle(min(count, _SHUFFLE_BUFFER), seed=seed)
    drop = shuffle and count >= batch_size
    if parts > 1 and not drop and count % batch_size:
        raise FaceAlignError(
            f"{count} faces leave a short batch of {count % batch_size}, of which shards would "
            f"have different parts; give a batch_size that divides {count}, or use from_tfds"
        )
    draws = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)

    def crop(*values):  # type: ignore[no-untyped-def]
        example = checked_example(dict(zip(names, values[:-1], strict=True)))
        if jitter is not None:
            rng = np.random.default_rng(int(values[-1]))
            example["box"] = jitter.apply(example["box"], rng)
        return _crop(example, input_size)

    num_landmarks = builder.info.features["landmarks"].shape[0]
    side = input_size + 2 * BORDER
    shapes = {
        "image": (side, side, 3),
        "landmarks": (num_landmarks, 2),
        "visibility": (num_landmarks,),
    }

    def to_batch_item(fields: Any, draw: Any) -> dict[str, Any]:
        values = tf.numpy_function(crop, [*fields, draw], [tf.uint8, tf.float32, tf.float32])
        return {
            name: tf.ensure_shape(value, shape)
            for (name, shape), value in zip(shapes.items(), values, strict=True)
        }

    faces = tf.data.Dataset.zip((faces, draws.take(count)))
    share = batch_size // parts
    if parts > 1:
        # Whole batches, and this part's places in each.
        numbered: Any = faces.take(count - count % batch_size).enumerate()
        own = numbered.filter(lambda i, face: i % batch_size // share == part)
        faces = own.map(lambda i, face: face)
        cardinality = tf.data.experimental.assert_cardinality(count // batch_size * share)
        faces = faces.apply(cardinality)
    faces = faces.map(to_batch_item, num_parallel_calls=tf.data.AUTOTUNE)
    drop = drop or count % batch_size == 0
    return faces.batch(share, drop_remainder=drop).prefetch(tf.data.AUTOTUNE)


def _stored_records(builder: Any, split: str, seed: int | None, ordered: bool) -> Any:
    """Records of a split with images as they are stored, as a `tf.data.Dataset`.

    Args:
        builder: A TFDS builder whose data set is built.
        split: A split, or a part of one.
        seed: Integer for the order of the files, or None to leave them in order.
        ordered: Whether all processes read in one order, which is slower.
    """
    import tensorflow as tf

    tfds = import_extra("tensorflow_datasets")
    config = tfds.ReadConfig(shuffle_seed=seed)
    if ordered:
        config.options = tf.data.Options()
        config.options.deterministic = True
    try:
        return builder.as_dataset(
            split=split,
            decoders={"image": tfds.decode.SkipDecoding()},
            shuffle_files=seed is not None,
            read_config=config,
        )
    except NotImplementedError as error:
        raise FaceAlignError(
            f"{builder.name} in {builder.data_path} is of a format that TensorFlow does not read; "
            "read it with from_tfds, or build it as tfrecord"
        ) from error


def _builder(builder: Any, data_dir: str | os.PathLike[str] | None) -> Any:
    """The builder, looked up if it is given by name; its data set must be built."""
    if isinstance(builder, str):
        tfds = import_extra("tensorflow_datasets")
        import tfds_builders  # noqa: F401  (registers the builders)

        name = builder
        try:
            builder = tfds.builder(name, data_dir=data_dir)
        except tfds.core.registered.DatasetNotFoundError as error:
            raise FaceAlignError(
                f"There is no data set {name!r}; `keras-facealign datasets` lists them"
            ) from error
        except ValueError as error:
            raise FaceAlignError(f"{name}: {one_line(error)}") from error
    if not builder.info.splits:
        raise FaceAlignError(
            f"{builder.name} is not built in {builder.data_path}; run download_and_prepare with "
            "manual_dir first"
        )
    return builder


def _check_split(builder: Any, split: str) -> None:
    name = split.partition("[")[0]
    if "+" not in split and name not in builder.info.splits:
        known = ", ".join(builder.info.splits)
        raise FaceAlignError(f"{builder.name} was built without the split {name!r}; it has {known}")


def _crop(example: Mapping[str, Any], input_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Crop uint8 (S, S, 3) RGB, landmarks float32 (K, 2) in it, visibility float32 (K,)."""
    image, landmarks, box = example["image"], example["landmarks"], example["box"]
    visibility = np.asarray(example["visibility"], np.float32)
    if isinstance(image, np.ndarray):
        crop, moved = crop_with_border(image, landmarks, box, input_size)
        return crop, moved, visibility
    # Decoding at a lower resolution is faster, and the crop has less detail anyway.
    scale = float(geometry.crop_matrix(box, input_size)[0, 0])
    factor = max((f for f in _REDUCED if f * scale <= 1), default=1)
    image, factor = _decode(image, factor, example["file_name"])
    resize = geometry.resize_matrix(1 / factor)
    corners = geometry.transform_points(resize, np.asarray(box, np.float32).reshape(2, 2))
    points = geometry.transform_points(resize, landmarks)
    crop, moved = crop_with_border(image, points, corners.reshape(4), input_size)
    return np.ascontiguousarray(crop[:, :, ::-1]), moved, visibility


def _decode(encoded: bytes, factor: int, name: str) -> tuple[np.ndarray, int]:
    """Decodes an image as uint8 (H, W, 3) BGR; returns it and the factor of its reduction."""
    # Only JPEG can be decoded at a lower resolution; other formats would be decoded and resized.
    if bytes(encoded[:2]) != b"\xff\xd8":
        factor = 1
    flag = _REDUCED.get(factor, cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flag)
    if image is None:
        raise FaceAlignError(f"{name}: the stored image is damaged; build the data set again")
    return image, factor
