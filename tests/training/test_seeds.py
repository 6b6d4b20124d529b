"""One seed decides what Python, NumPy and the backend draw."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_facealign.training.seeds import set_random_seed
from tests.paths import ROOT


def drawn():
    layer = keras.layers.Dense(4)
    layer.build((None, 3))
    numbers = [random.random(), np.random.uniform()]
    if keras.backend.backend() == "torch":
        import torch

        numbers.append(float(torch.rand(1)))
    return [*numbers, *keras.ops.convert_to_numpy(layer.kernel).ravel()]


@pytest.mark.parametrize("imported", [True, False], ids=["TensorFlow", "no TensorFlow"])
def test_equal_seeds_draw_equally(imported, monkeypatch):
    if not imported and keras.backend.backend() != "tensorflow":
        monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    set_random_seed(3)
    first = drawn()
    assert drawn() != first
    set_random_seed(3)
    assert drawn() == first
    set_random_seed(4)
    assert not set(drawn()) & set(first)


CODE = """
import sys
from keras_facealign.training.seeds import set_random_seed
set_random_seed(1)
print("tensorflow" in sys.modules)
"""


@pytest.mark.parametrize("backend", ["torch"])
def test_tensorflow_is_not_imported_for_it(backend):
    pytest.importorskip(backend)
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
