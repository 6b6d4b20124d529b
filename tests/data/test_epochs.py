"""What batches have in common: their number and their order, against the rule written out."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from keras_facealign.data.epochs import EpochBatches
from keras_facealign.errors import FaceAlignError


class Numbers(EpochBatches):
    """Batches of the numbers from 0."""

    def __init__(self, count, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._set_count(count)

    def __getitem__(self, index):
        return self._chosen(index)


def listed(batches):
    return [batches[i].tolist() for i in range(len(batches))]


@pytest.mark.parametrize("count", [1, 4, 9, 12])
@pytest.mark.parametrize("batch_size", [1, 4, 10])
def test_in_order_every_number_comes_once(count, batch_size):
    batches = Numbers(count, batch_size)
    for epoch in range(2):
        assert batches.epoch == epoch
        found = listed(batches)
        assert [number for batch in found for number in batch] == list(range(count))
        assert all(len(batch) == batch_size for batch in found[:-1])
        batches.on_epoch_end()


@pytest.mark.parametrize("count", [3, 9, 12])
def test_shuffled_the_order_is_numpys_for_seed_and_epoch(count):
    batches = Numbers(count, 4, shuffle=True, seed=7)
    whole = max(count // 4, 1)
    for epoch in range(3):
        order = np.random.default_rng([7, epoch]).permutation(count).tolist()
        expected = [order[4 * i : 4 * i + 4] for i in range(whole)]
        assert len(batches) == whole and listed(batches) == expected
        resumed = Numbers(count, 4, shuffle=True, seed=7)
        resumed.start_at(epoch)
        assert resumed.epoch == epoch and listed(resumed) == expected
        batches.on_epoch_end()


def test_orders_are_those_of_every_release():
    """A run that an older release began goes on with these."""
    batches = Numbers(6, 2, shuffle=True, seed=1)
    assert listed(batches) == [[4, 0], [2, 1], [5, 3]]
    batches.start_at(5)
    assert listed(batches) == [[1, 2], [5, 0], [4, 3]]


def test_batches_of_nothing_are_refused():
    with pytest.raises(FaceAlignError, match="batch_size is 0"):
        Numbers(3, 0)


def test_keras_options_pass_through():
    assert Numbers(3, 2, workers=2, max_queue_size=3).workers == 2


def test_neither_opencv_nor_pillow_is_imported():
    code = (
        "import sys; sys.modules['cv2'] = sys.modules['PIL'] = None; "
        "from keras_facealign.data.epochs import EpochBatches; "
        "from keras_facealign.data.packed import PackedFaces"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
