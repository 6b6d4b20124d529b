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
    `self._chosen(index)`.

    Args:
        batch_size: Faces in a batch.
        shuffle: Whether to shuffle in each epoch and drop a last short batch.
        seed: Integer.
        **kwargs: As for every `keras.utils.PyDataset`.

    Attributes:
        epoch: The epoch whose order the batches have, from 0.

    Raises:
        FaceAlignError: If batch_size or seed is not an integer in its range.

    Example:
        >>> class Numbers(EpochBatches):
        ...     def __init__(self, numbers, **kwargs):
        ...         super().__init__(**kwargs)
        ...         self.numbers = numbers
        ...         self._set_count(len(numbers))
        ...
        ...     def __getitem__(self, index):
        ...         return self.numbers[self._chosen(index)]
        >>> batches = Numbers(np.arange(5), batch_size=2)
        >>> [batch.tolist() for batch in batches]
        [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self, batch_size: int = 16, shuffle: bool = False, seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_batch_size(batch_size)
        check_integer("seed", seed, 0, 2**32 - 1)
        self.batch_size = batch_size
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

    def _chosen(self, index: int) -> np.ndarray:
        """int (B,), the faces of a batch."""
        return self._order[index * self.batch_size : (index + 1) * self.batch_size]

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

    Raises:
        FaceAlignError: If there is no set, or their images have different sizes.

    Example:
        >>> labeled = PackedFaces("train.faces.npz", 8, shuffle=True)  # doctest: +SKIP
        >>> pseudo = PackedFaces("pseudo.faces.npz", 8, shuffle=True)  # doctest: +SKIP
        >>> model.fit(MixedBatches(labeled, pseudo), epochs=60)  # doctest: +SKIP
    """

    def __init__(self, *parts: EpochBatches, **kwargs: Any) -> None:
        if not parts:
            raise FaceAlignError("MixedBatches got no set of faces; give at least one.")
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
        return {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}


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
