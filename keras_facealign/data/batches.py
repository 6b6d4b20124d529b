"""Training batches for `FaceAlignModel.fit`: faces cropped with a border.

Nothing here needs TensorFlow: `FaceBatches` is a `keras.utils.PyDataset`, which every Keras backend
reads. `as_tf_dataset` wraps one as a `tf.data.Dataset`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_facealign import geometry
from keras_facealign.data.epochs import EpochBatches, stack_faces
from keras_facealign.errors import FaceAlignError, check_integer
from keras_facealign.geometry import crop_face
from keras_facealign.landmarks import check_labels

# Pixels around the network's input that augmentation may bring into view.
BORDER = 32

MAX_INPUT_SIZE = 2048
"""Largest side of a network's input in pixels."""


@dataclass(frozen=True)
class BoxJitter:
    """Random shift and scaling of training boxes, which simulates a detector's errors.

    Args:
        shift: Standard deviation of the center, in units of the box's longer side.
        log_scale: Standard deviation of the logarithm of the size.

    Raises:
        FaceAlignError: If one is negative or not finite.

    Both are drawn from Gaussians cut at 2.5 standard deviations. The MTCNN boxes of this library
    measure 0.035 and 0.058 against the ground truth (`benchmarks/fit_detector_box.py`).
    """

    shift: float = 0.05
    log_scale: float = 0.08

    def __post_init__(self) -> None:
        for name in ("shift", "log_scale"):
            if not 0 <= getattr(self, name) < np.inf:
                raise FaceAlignError(
                    f"{name} is {getattr(self, name)}; give a standard deviation of 0 or more."
                )

    def apply(self, box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draws a box near `box`, float32 (4,), pixels."""
        dx, dy, ds = np.clip(rng.normal(size=3), -2.5, 2.5)
        side = max(box[2] - box[0], box[3] - box[1])
        center = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
        center += self.shift * side * np.array([dx, dy])
        half = np.array([box[2] - box[0], box[3] - box[1]]) / 2 * np.exp(self.log_scale * ds)
        return np.concatenate([center - half, center + half]).astype(np.float32)


def crop_with_border(
    image: np.ndarray,
    landmarks: np.ndarray,
    box: np.ndarray,
    input_size: int = 128,
    border: int = BORDER,
) -> tuple[np.ndarray, np.ndarray]:
    """Crops a face with a border around the network's input, at the same scale.

    Args:
        image: uint8 (H, W, 3), RGB.
        landmarks: float (K, 2), pixels of `image`, x before y.
        box: float (4,), x0, y0, x1, y1 in pixels of `image`; tight around the landmarks.
        input_size: Side of the network's input in pixels.
        border: Pixels added on each side.

    Returns:
        The crop, uint8 (S, S, 3) with S = input_size + 2 * border, and the landmarks, float32
        (K, 2), in its pixels.
    """
    shift = geometry.translation_matrix(np.float32(border), np.float32(border))
    matrix = geometry.compose(shift, geometry.crop_matrix(box, input_size))
    crop = crop_face(image, matrix, input_size + 2 * border)
    moved = geometry.transform_points(matrix, np.asarray(landmarks, np.float32))
    return crop, moved.astype(np.float32)


class FaceBatches(EpochBatches):
    """Batches of cropped faces from examples that fit in memory.

    Faces are cropped once or, with jitter, in every epoch. Equal seeds give equal batches.

    Args:
        examples: `FaceExample`s of `keras_facealign.data`, or mappings with the same keys (what a
            TFDS data source or `tfds.as_numpy` yields): image uint8 (H, W, 3), landmarks (K, 2)
            pixels, visibility (K,), box (4,) and file_name.
        boxes: Boxes to use instead of the examples' own, by file_name, as `read_boxes` gives them:
            of several, the one that overlaps the example's own most.
        batch_size: Faces in a batch.
        input_size: Side of the network's input in pixels.
        shuffle: Whether to shuffle in each epoch and drop a last short batch.
        jitter: Random change of the boxes in each epoch, or None for unchanged boxes.
        seed: Integer.
        **kwargs: `shard`, see `EpochBatches`, and as for every `keras.utils.PyDataset`.

    Raises:
        FaceAlignError: If there are no examples, or one is damaged (the message names the file), or
            a number is out of range.

    Example:
        >>> image = np.zeros((64, 64, 3), np.uint8)
        >>> points = np.random.default_rng(0).uniform(20, 40, (68, 2))
        >>> example = {"image": image, "landmarks": points, "visibility": np.ones(68),
        ...            "box": np.array([20, 20, 40, 40]), "file_name": "noise.png"}
        >>> FaceBatches([example], batch_size=1)[0]["image"].shape
        (1, 192, 192, 3)
    """

    def __init__(
        self,
        examples: Iterable[Any],
        batch_size: int = 16,
        input_size: int = 128,
        shuffle: bool = False,
        jitter: BoxJitter | None = None,
        seed: int = 0,
        boxes: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(batch_size, shuffle, seed, **kwargs)
        check_integer("input_size", input_size, 1, MAX_INPUT_SIZE)
        self.input_size = input_size
        self.jitter = jitter
        self.file_names: list[str] = []
        self._visibility: list[np.ndarray] = []
        # Crops with their landmarks or, where each epoch crops again, examples.
        self._faces: list[Any] = []
        for example in checked_examples(examples, boxes):
            self.file_names.append(example["file_name"])
            self._visibility.append(np.asarray(example["visibility"], np.float32))
            self._faces.append(example if jitter else self._crop(example, example["box"]))
        self._set_count(len(self.file_names))

    def _crop(self, example: dict[str, Any], box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return crop_with_border(example["image"], example["landmarks"], box, self.input_size)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self._marked(index, stack_faces(self._face(int(i)) for i in self._chosen(index)))

    def _face(self, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        face = self._faces[i]
        if self.jitter is not None:
            rng = np.random.default_rng([self.seed, self.epoch, i])
            face = self._crop(face, self.jitter.apply(face["box"], rng))
        crop, landmarks = face
        return crop, landmarks, self._visibility[i]


def checked_examples(
    examples: Iterable[Any], boxes: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Checks examples one by one and yields each as a dict.

    Args:
        examples: As for `FaceBatches`.
        boxes: As for `FaceBatches`.

    Yields:
        image, landmarks, visibility, box and file_name of each.

    Raises:
        FaceAlignError: An example is damaged or has no box, their numbers of landmarks differ, or
            there are no examples.
    """
    first = None
    for example in examples:
        fields = checked_example(example)
        if boxes is not None:
            fields["box"] = _given_box(boxes, fields)
        first = first or fields
        count, expected = len(fields["visibility"]), len(first["visibility"])
        if count != expected:
            raise FaceAlignError(
                f"{fields['file_name']}: has {count} landmarks, but {first['file_name']} has "
                f"{expected}; use one landmark scheme at a time."
            )
        yield fields
    if first is None:
        raise FaceAlignError("There are no examples; check the data folder.")


def checked_example(example: Any) -> dict[str, Any]:
    """Checks a labeled face.

    Args:
        example: As for `FaceBatches`; the image may also be an encoded file, as bytes.

    Returns:
        image, landmarks, visibility, box and file_name.

    Raises:
        FaceAlignError: If one is missing, or its type, shape or values are wrong; the message names
            the file.
    """
    names = ("image", "landmarks", "visibility", "box", "file_name")
    if isinstance(example, Mapping):
        missing = [name for name in names if name not in example]
        if missing:
            raise FaceAlignError(f"An example lacks {missing[0]!r}; it has {sorted(example)}.")
        fields = {name: example[name] for name in names}
    else:
        fields = {name: getattr(example, name) for name in names}
    if isinstance(fields["file_name"], bytes):
        fields["file_name"] = fields["file_name"].decode(errors="replace")
    name, image = fields["file_name"], fields["image"]
    if not isinstance(image, bytes):
        image = np.asarray(image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or not image.size:
            raise FaceAlignError(
                f"{name}: image is {image.dtype} {image.shape}; give uint8 (H, W, 3), RGB."
            )
    points, visibility = check_labels(fields["landmarks"], fields["visibility"], name)
    if visibility.ndim != 1:
        raise FaceAlignError(
            f"{name}: visibility {visibility.shape} is not of one face; give (K,)."
        )
    box = _checked_box(fields["box"], name)
    return {**fields, "image": image, "landmarks": points, "visibility": visibility, "box": box}


def _checked_box(box: Any, name: str) -> np.ndarray:
    """A box as float32 (4,), checked here because with jitter, cropping happens in training."""
    try:
        box = np.asarray(box, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise FaceAlignError(f"{name}: box {box!r} is not four numbers ({error}).") from error
    if box.shape != (4,) or not np.isfinite(box).all() or not (box[2:] > box[:2]).all():
        raise FaceAlignError(
            f"{name}: box {box.tolist()} has no area; give x0, y0, x1, y1 in pixels with x0 < x1 "
            "and y0 < y1."
        )
    return box


def _given_box(boxes: Mapping[str, Any], fields: dict[str, Any]) -> np.ndarray:
    """The box given for an example; of several, the one that overlaps its own most."""
    name = fields["file_name"]
    checked = [_checked_box(box, name) for box in boxes.get(name) or ()]
    if not checked:
        raise FaceAlignError(f"{name}: no box is given for it; add a line for it.")
    return max(checked, key=lambda box: geometry.box_overlap(box, fields["box"]))


def as_tf_dataset(batches: EpochBatches) -> Any:
    """Wraps batches as a `tf.data.Dataset` of one epoch, prefetched; needs TensorFlow.

    Each pass over the data set advances the epoch, and with it the order and the jitter. Its
    attribute `start_at` is that of the batches; `FaceAlignModel.fit` calls it for each epoch. Of
    batches with a `shard` it has that shard. The number of faces is known to TensorFlow where it is
    that of all batches. Several devices cannot share a batch that they do not divide: call
    `batches.divide_by(devices)` before.
    """
    import tensorflow as tf

    def generate() -> Any:
        # A copy keeps its epoch, since passes may overlap where batches are prefetched.
        one_pass = copy.copy(batches)
        for index in range(len(one_pass)):
            yield one_pass[index]
        batches.start_at(one_pass.epoch + 1)

    first, last = batches[0], batches[len(batches) - 1]
    equal = len(first["image"]) == len(last["image"])
    signature = {
        name: tf.TensorSpec((len(array) if equal else None, *array.shape[1:]), array.dtype)
        for name, array in first.items()
    }
    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    cardinality = tf.data.experimental.assert_cardinality(len(batches))
    dataset = dataset.apply(cardinality).prefetch(2)
    dataset.start_at = batches.start_at  # pyright: ignore[reportAttributeAccessIssue]
    dataset.shard = batches.shard  # pyright: ignore[reportAttributeAccessIssue]
    return dataset
