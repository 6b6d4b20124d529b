"""What batches have in common: their number and their order, against the rule written out."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from keras_facealign.data.epochs import EpochBatches, MixedBatches
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


class Faces(EpochBatches):
    """Batches as training takes them, of numbers in place of images."""

    def __init__(self, first: int, count: int, **kwargs):
        super().__init__(**kwargs)
        self.numbers = np.arange(first, first + count)
        self._set_count(count)

    def __getitem__(self, index: int):
        return self._marked(index, {"number": self.numbers[self._chosen(index)]})


def test_mixed_batches_have_the_same_proportion_and_go_through_every_set():
    labeled = Faces(0, 6, batch_size=2, shuffle=True)
    pseudo = Faces(100, 10, batch_size=1, shuffle=True)
    mixed = MixedBatches(labeled, pseudo)
    assert mixed.batch_size == 3 and len(mixed) == 3
    epochs = []
    for _ in range(4):
        epochs.append(np.stack([mixed[i]["number"] for i in range(len(mixed))]))
        mixed.on_epoch_end()
    for epoch in epochs:
        assert sorted(epoch[:, :2].ravel()) == list(range(6))
    assert len({epoch[:, :2].tobytes() for epoch in epochs}) == 4
    # Ten of the further faces before one comes again.
    more = np.concatenate([epoch[:, 2] for epoch in epochs])
    assert sorted(more[:10]) == list(range(100, 110)) and len(set(more[10:])) == 2
    mixed.start_at(1)
    np.testing.assert_array_equal([mixed[i]["number"] for i in range(3)], epochs[1])


def test_mixed_batches_need_sets_that_fit():
    with pytest.raises(FaceAlignError, match="at least one"):
        MixedBatches()
    other, small = Faces(0, 3, batch_size=1), Faces(0, 3, batch_size=1)
    other.input_size, small.input_size = 128, 64
    with pytest.raises(FaceAlignError, match="64 and 128 pixels"):
        MixedBatches(Faces(0, 3, batch_size=1), other, small)


# ---- shards -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("count", [2, 4])
def test_shards_are_the_parts_of_every_batch(count, shuffle):
    options = {"batch_size": 4, "shuffle": shuffle, "seed": 3}
    whole = Faces(0, 16, **options)
    shards = [Faces(0, 16, **options, shard=(i, count)) for i in range(count)]
    for epoch in (0, 5):
        for batches in (whole, *shards):
            batches.start_at(epoch)
        assert {len(shard) for shard in shards} == {len(whole)}
        for i in range(len(whole)):
            joined = np.concatenate([shard[i]["number"] for shard in shards])
            assert joined.tolist() == whole[i]["number"].tolist()
            assert set(shards[0][i]) == {"number"}


def test_a_short_batch_is_filled_up_with_faces_that_do_not_count():
    shards = [Faces(10, 7, batch_size=4, shard=(i, 2)) for i in range(2)]
    first, last = ([shard[i] for shard in shards] for i in range(2))
    assert [b["number"].tolist() for b in first] == [[10, 11], [12, 13]]
    assert [b["present"].tolist() for b in first] == [[1, 1], [1, 1]]
    assert [b["number"].tolist() for b in last] == [[14, 15], [16, 14]]
    assert [b["present"].tolist() for b in last] == [[1, 1], [1, 0]]
    assert last[1]["present"].dtype == np.float32
    # Two devices of one process share a batch as well.
    batches = Faces(10, 7, batch_size=4)
    batches.divide_by(2)
    assert batches[1]["number"].tolist() == [14, 15, 16, 14]
    assert batches[1]["present"].tolist() == [1, 1, 1, 0]


def test_what_fills_a_batch_is_hidden():
    class Labeled(Faces):
        def __getitem__(self, index):
            chosen = self._chosen(index)
            visibility = np.full((len(chosen), 3), 2, np.float32)
            return self._marked(index, {"number": chosen, "visibility": visibility})

    batch = Labeled(0, 3, batch_size=4, shard=(1, 2))[0]
    assert batch["number"].tolist() == [2, 0]
    assert batch["visibility"].tolist() == [[2, 2, 2], [0, 0, 0]]


def test_mixed_batches_have_shards():
    def parts():
        return Faces(0, 6, batch_size=3, shuffle=True), Faces(100, 5, batch_size=1, shuffle=True)

    whole = MixedBatches(*parts())
    shards = [MixedBatches(*parts(), shard=(i, 2)) for i in range(2)]
    for _ in range(2):
        for i in range(len(whole)):
            joined = np.concatenate([shard[i]["number"] for shard in shards])
            assert joined.tolist() == whole[i]["number"].tolist()
        for batches in (whole, *shards):
            batches.on_epoch_end()
    unsorted = MixedBatches(Faces(0, 3, batch_size=3), Faces(9, 3, batch_size=1), shard=(1, 2))
    assert unsorted[0]["number"].tolist() == [2, 9]
    assert unsorted[0]["present"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("shard", "message"),
    [
        ((2, 2), "shard is \\(2, 2\\); give the part's index"),
        ((0, 0), "number of parts"),
        (3, "shard is 3"),
        ((0, 3), "batch_size is 4, the faces of all 3 devices together; .* such as 6"),
    ],
)
def test_shards_that_cannot_be(shard, message):
    with pytest.raises(FaceAlignError, match=message):
        Faces(0, 8, batch_size=4, shard=shard)


def test_more_devices_than_can_share_a_batch_are_refused():
    with pytest.raises(FaceAlignError, match="batch_size is 4, .* multiple of 3"):
        Faces(0, 8, batch_size=4).divide_by(3)
    with pytest.raises(FaceAlignError, match="3 devices cannot be shared by 2 processes"):
        Faces(0, 8, batch_size=6, shard=(0, 2)).divide_by(3)
    with pytest.raises(FaceAlignError, match="give shard to the mixture"):
        MixedBatches(Faces(0, 8, batch_size=4, shard=(0, 2)))
