"""Base class of training batches: their number, and the order of faces in each epoch.

It needs only Keras and NumPy, so that packed faces can be read where OpenCV is not installed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_facealign.errors import FaceAlignError, check_batch_size, check_integer


class EpochBatches(keras.utils.PyDataset):
    """Batches of a fixed number of faces, whose order depends only on seed and epoch.

    A subclass sets the number of faces with `_set_count`, and returns batch `index` of the faces
    `self._chosen(index)`, a dict passed through `self._marked`.

    Args:
        batch_size: Faces in a batch, those of all shards together.
        shuffle: Whether to shuffle in each epoch and drop a last short batch.
        seed: Integer.
        shard: (index, count) gives part `index` of every batch, of `count` equal ones, as a process
            needs it that trains with others. All of them together are the batch of one process.
        **kwargs: As for every `keras.utils.PyDataset`.

    Attributes:
        epoch: The epoch whose order the batches have, from 0.

    A short batch that cannot be divided among the devices is filled up with faces of its own, whose
    visibility is 0. The batches then have an entry "present", float32 (B,), 0 for those faces.

    Raises:
        FaceAlignError: If batch_size or seed is not an integer in its range, or the batches cannot
            be divided into that many shards.

    Example:
        >>> class Numbers(EpochBatches):
        ...     def __init__(self, numbers, **kwargs):
        ...         super().__init__(**kwargs)
        ...         self.numbers = numbers
        ...         self._set_count(len(numbers))
        ...
        ...     def __getitem__(self, index):
        ...         return self._marked(index, {"number": self.numbers[self._chosen(index)]})
        >>> batches = Numbers(np.arange(5), batch_size=2)
        >>> [batch["number"].tolist() for batch in batches]
        [[0, 1], [2, 3], [4]]
        >>> second = Numbers(np.arange(5), batch_size=2, shard=(1, 2))
        >>> [batch["number"].tolist() for batch in second]
        [[1], [3], [4]]
    """

    def __init__(
        self,
        batch_size: int = 16,
        shuffle: bool = False,
        seed: int = 0,
        shard: tuple[int, int] = (0, 1),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_batch_size(batch_size)
        check_integer("seed", seed, 0, 2**32 - 1)
        self.batch_size = batch_size
        self.shard = checked_shard(shard, batch_size)
        self._devices = self.shard[1]
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0
        self._order = np.arange(0)

    def _set_count(self, count: int) -> None:
        """Sets the number of faces and the first epoch's order."""
        self._order = np.arange(count)
        self.start_at(0)

    @property
    def num_faces(self) -> int:
        """Number of faces, those of a short last batch included."""
        return len(self._order)

    def divide_by(self, devices: int) -> None:
        """Makes all batches divisible by a number of devices, which shards count as.

        Raises:
            FaceAlignError: If batch_size, or the number of devices of each shard, is not divisible.
        """
        _check_parts(self.batch_size, devices, self.shard[1])
        self._devices = devices

    def _whole(self, index: int) -> np.ndarray:
        """int, the faces of a batch, of all shards."""
        return self._order[index * self.batch_size : (index + 1) * self.batch_size]

    def _rows(self, count: int) -> np.ndarray:
        """int (B,), the rows that this shard has of a batch; the first ones again fill it up."""
        filled = -(-count // self._devices) * self._devices
        share = filled // self.shard[1]
        return np.arange(self.shard[0] * share, (self.shard[0] + 1) * share)

    def _chosen(self, index: int) -> np.ndarray:
        """int (B,), the faces of a batch, or of this shard's part of it."""
        whole = self._whole(index)
        return whole[self._rows(len(whole)) % len(whole)]

    def _marked(self, index: int, batch: dict[str, Any]) -> dict[str, Any]:
        """Returns a batch with "present" where batches are filled up, and hides what fills it."""
        return self._hide(batch, len(self._whole(index))) if self._is_filled() else batch

    def _is_filled(self) -> bool:
        """Whether a batch may have to be filled up. Then all have the same entries."""
        dropped = self.shuffle and len(self._order) >= self.batch_size
        return not dropped and len(self._order) % self.batch_size % self._devices > 0

    def _hide(self, batch: dict[str, Any], count: int) -> dict[str, Any]:
        present = (self._rows(count) < count).astype(np.float32)
        if "visibility" in batch:
            batch = {**batch, "visibility": batch["visibility"] * present[:, None]}
        return {**batch, "present": present}

    def __len__(self) -> int:
        count = len(self._order)
        if self.shuffle and count >= self.batch_size:
            return count // self.batch_size
        return -(-count // self.batch_size)

    def on_epoch_end(self) -> None:
        self.start_at(self.epoch + 1)

    def start_at(self, epoch: int) -> None:
        """Sets the epoch, so that a resumed run continues in the same order."""
        self.epoch = epoch
        if self.shuffle:
            rng = np.random.default_rng([self.seed, epoch])
            self._order = rng.permutation(len(self._order))


class MixedBatches(EpochBatches):
    """Joins batches of several sets, so that every batch has faces of all in the same proportion.

    An epoch is one of the first set. The others go on where the last epoch left them, and start a
    new order whenever they have been gone through: a large set with less certain labels adds to
    each step without outweighing a small one.

    Args:
        *parts: The sets; their batch sizes are the proportion.
        **kwargs: `shard`, see `EpochBatches`, and as for every `keras.utils.PyDataset`.

    Raises:
        FaceAlignError: If there is no set, one is a shard, or their images have different sizes.

    Example:
        >>> labeled = PackedFaces("train.faces.npz", 8, shuffle=True)  # doctest: +SKIP
        >>> pseudo = PackedFaces("pseudo.faces.npz", 8, shuffle=True)  # doctest: +SKIP
        >>> model.fit(MixedBatches(labeled, pseudo), epochs=60)  # doctest: +SKIP
    """

    def __init__(self, *parts: EpochBatches, **kwargs: Any) -> None:
        if not parts:
            raise FaceAlignError("MixedBatches got no set of faces; give at least one.")
        if any(part.shard != (0, 1) for part in parts):
            raise FaceAlignError("The sets of MixedBatches are shards; give shard to the mixture.")
        super().__init__(sum(part.batch_size for part in parts), **kwargs)
        sizes = {part.input_size for part in parts if hasattr(part, "input_size")}
        if len(sizes) > 1:
            shown = " and ".join(map(str, sorted(sizes)))
            raise FaceAlignError(f"The sets are for inputs of {shown} pixels; pack all for one.")
        if sizes:
            self.input_size = sizes.pop()
        self.parts = parts
        self._lock = threading.Lock()
        self._set_count(parts[0].num_faces)

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        batches = []
        with self._lock:  # a part's order may change
            for part in self.parts:
                epoch, place = divmod(self.epoch * len(self) + index, len(part))
                if epoch != part.epoch:
                    part.start_at(epoch)
                batches.append(part[place])
        joined = {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
        if self._devices == 1:
            return joined
        count = len(next(iter(joined.values())))
        rows = self._rows(count)
        batch = {name: values[rows % count] for name, values in joined.items()}
        return self._hide(batch, count) if self._is_filled() else batch

    def _is_filled(self) -> bool:
        # A part that keeps its short batches has one of any size.
        return any(not p.shuffle or p.num_faces < p.batch_size for p in self.parts)


def _check_parts(batch_size: int, devices: int, processes: int) -> None:
    if devices % processes:
        raise FaceAlignError(
            f"{devices} devices cannot be shared by {processes} processes; give each equally many."
        )
    if batch_size % devices:
        raise FaceAlignError(
            f"batch_size is {batch_size}, the faces of all {devices} devices together; give a "
            f"multiple of {devices}, such as {devices * -(-batch_size // devices)}."
        )


def checked_shard(shard: Any, batch_size: int) -> tuple[int, int]:
    """Returns a shard's index and the number of shards.

    Raises:
        FaceAlignError: If it is no such pair, or batches cannot be divided into that many.
    """
    try:
        index, count = shard
        check_integer("The number of shards", count, 1)
        check_integer("The shard", index, 0, count - 1)
    except (TypeError, ValueError) as error:
        raise FaceAlignError(
            f"shard is {shard!r}; give the part's index, from 0, and the number of parts."
        ) from error
    _check_parts(batch_size, int(count), 1)
    return int(index), int(count)


def stack_faces(faces: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> dict[str, Any]:
    """Makes a batch of faces, each given as its image, landmarks and visibility.

    Raises:
        FaceAlignError: If their shapes differ.
    """
    names = ("image", "landmarks", "visibility")
    columns = dict(zip(names, zip(*faces, strict=True), strict=True))
    for name, values in columns.items():
        if len(shapes := {value.shape for value in values}) > 1:
            raise FaceAlignError(
                f"A batch has {name} of shapes {' and '.join(map(str, sorted(shapes)))}; use one "
                "landmark scheme at a time."
            )
    return {name: np.stack(values) for name, values in columns.items()}
