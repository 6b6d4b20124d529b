"""A replica's faces get the random numbers that they would get on one device."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_facealign.objective import corruptions, face_random
from keras_facealign.objective.corruptions import Corruptions
from keras_facealign.objective.face_random import normal_per_face, uniform_per_face


def as_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def as_replica(monkeypatch, index, count, *modules):
    for module in modules:
        monkeypatch.setattr(module, "replica_count", lambda: count)
        monkeypatch.setattr(module, "replica_index", lambda: index)


@pytest.mark.parametrize("replicas", [2, 3])
def test_replicas_draw_parts_of_one_batch(monkeypatch, replicas):
    def draw(count):
        seed = keras.random.SeedGenerator(5)
        uniform = uniform_per_face(count, (2, 3), -1.0, 1.0, seed)
        numbers = [as_numpy(uniform), as_numpy(normal_per_face(count, (2,), seed))]
        return numbers, as_numpy(seed.state).tolist()

    whole, state = draw(6)
    parts = []
    for index in range(replicas):
        as_replica(monkeypatch, index, replicas, face_random)
        part, after = draw(6 // replicas)
        assert after == state
        parts.append(part)
    for i, expected in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate([part[i] for part in parts]), expected)
    assert (np.abs(whole[0]) <= 1).all() and len(np.unique(whole[0])) == 36


@pytest.mark.parametrize(("replicas", "faces"), [(2, 4), (2, 1), (3, 2), (4, 1)])
def test_replicas_occlude_by_the_same_faces(monkeypatch, replicas, faces):
    """One replica's images may be covered by parts of another's."""
    pictures = np.random.default_rng(2).uniform(0, 255, (replicas * faces, 16, 16, 3))
    pictures = pictures.astype("float32")
    settings = Corruptions(occlusion=1.0)

    def apply(images):
        tensor = keras.ops.convert_to_tensor(images)
        return as_numpy(settings.apply(tensor, keras.random.SeedGenerator(4)))

    expected = apply(pictures)
    assert np.abs(expected - pictures).mean() > 3
    parts = pictures.reshape(replicas, faces, 16, 16, 3)
    last = keras.ops.convert_to_tensor(np.concatenate([part[-3:] for part in parts]))
    monkeypatch.setattr(corruptions, "all_gather", lambda value: last)
    for index in range(replicas):
        as_replica(monkeypatch, index, replicas, face_random, corruptions)
        found = apply(parts[index])
        # Processors may fuse a multiplication and an addition, depending on the size of the batch.
        np.testing.assert_allclose(found, expected[index * faces : (index + 1) * faces], rtol=1e-6)
