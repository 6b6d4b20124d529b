"""Training on drawn persons: resumed and finished runs, and folders that are unusable."""

from __future__ import annotations

import shutil
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from keras_facealign.errors import FaceAlignError
from keras_facealign.recognition import Embedder, training
from keras_facealign.recognition.training import (
    NETWORK_FILE,
    CropBatches,
    list_persons,
    train_recognition,
)
from keras_facealign.training import TrainingConfig
from tests.recognition.drawn import draw_person

SMALL: dict[str, Any] = {"embedding_size": 8, "input_size": 32, "scale": 8.0}
CONFIG = TrainingConfig(
    epochs=2, batch_size=4, learning_rate=3e-3, seed=5, compile={"jit_compile": False}
)


class Kill(keras.callbacks.Callback):
    """Ends the run after the first epoch."""

    def on_epoch_end(self, epoch, logs=None):
        raise KeyboardInterrupt


def small_network(embedding_size, input_size, width, name):
    """Stands in for MobileFaceNet, whose 50 layers take long to compile."""
    inputs = keras.Input((input_size, input_size, 3))
    x = keras.layers.Conv2D(4, 5, strides=4)(inputs)
    x = keras.layers.Flatten()(keras.layers.BatchNormalization()(x))
    return keras.Model(inputs, keras.layers.Dense(embedding_size)(x), name=name)


@pytest.fixture(scope="module", autouse=True)
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "MobileFaceNet", small_network)
        yield


@pytest.fixture(scope="module")
def persons(tmp_path_factory):
    root = tmp_path_factory.mktemp("persons")
    for person in (0, 3, 5):
        for k in range(4):
            draw_person(root / f"person{person}" / f"{k}.png", person, seed=k, size=(32, 32))
    draw_person(root / "alone" / "0.png", 1, seed=0, size=(32, 32))
    (root / "nobody").mkdir()
    return root


@pytest.fixture(scope="module")
def run(persons, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, train_recognition(persons, folder, CONFIG, verbose=0, **SMALL)


def test_persons_with_one_picture_are_left_out(persons):
    paths, labels, names, left_out = list_persons(persons)
    assert names == ["person0", "person3", "person5"] and left_out == ["alone", "nobody"]
    assert labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert [path.parent.name for path in paths[::4]] == names


def test_a_run_gives_a_network_for_the_embedder(run, persons):
    folder, result = run
    assert (result["persons"], result["pictures"], result["left_out"]) == (
        *(3, 12),
        ["alone", "nobody"],
    )
    assert np.isfinite(result["loss"]) and (folder / "log.csv").read_text().count("\n") == 3
    embedder = Embedder.from_file(folder / NETWORK_FILE)
    crops = np.stack([np.asarray(Image.open(path)) for path in list_persons(persons)[0]])
    assert embedder.embed(crops).shape == (12, 8)
    again = train_recognition(persons, folder, CONFIG, verbose=0, **SMALL)
    assert again["already_finished"] and again["loss"] == result["loss"]
    with pytest.raises(FaceAlignError, match="run with other settings"):
        train_recognition(persons, folder, CONFIG, loss="cosface", verbose=0, **SMALL)


def test_a_killed_run_ends_with_the_same_network(run, persons, tmp_path):
    folder, _ = run
    with pytest.raises(KeyboardInterrupt):
        train_recognition(persons, tmp_path, CONFIG, verbose=0, callbacks=[Kill()], **SMALL)
    assert not (tmp_path / NETWORK_FILE).exists()
    train_recognition(persons, tmp_path, CONFIG, verbose=0, **SMALL)
    networks = [keras.saving.load_model(f / NETWORK_FILE) for f in (folder, tmp_path)]
    for first, second in zip(*(n.get_weights() for n in networks), strict=True):
        np.testing.assert_allclose(first, second, atol=1e-5)


def test_batches_depend_on_seed_and_epoch_alone(persons):
    paths, labels, *_ = list_persons(persons)

    def batch(seed, epoch):
        batches = CropBatches(paths, labels, 32, 5, seed)
        batches.start_at(epoch)
        assert len(batches) == 2
        inputs, targets = batches[1]
        np.testing.assert_array_equal(inputs["label"], targets)
        return inputs["image"]

    np.testing.assert_array_equal(batch(1, 2), batch(1, 2))
    assert not np.array_equal(batch(1, 2), batch(1, 3))
    assert not np.array_equal(batch(1, 2), batch(2, 2))


def test_unusable_folders(persons, tmp_path):
    with pytest.raises(FaceAlignError, match="there is no such folder"):
        list_persons(tmp_path / "missing")
    shutil.copytree(persons / "person0", tmp_path / "one" / "person0")
    with pytest.raises(FaceAlignError, match="1 persons with at least 2 pictures"):
        list_persons(tmp_path / "one")
    with pytest.raises(FaceAlignError, match="is 32x32 pixels, and the network takes 112x112"):
        train_recognition(persons, tmp_path / "run", CONFIG, verbose=0)
    with pytest.raises(FaceAlignError, match="Unknown loss 'softmax'"):
        train_recognition(persons, tmp_path / "run", CONFIG, loss="softmax")
