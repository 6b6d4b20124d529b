"""The seed of everything random in a run."""

from __future__ import annotations

import random
import sys

import keras
import numpy as np


def set_random_seed(seed: int) -> None:
    """Seeds Python, NumPy and the backend.

    `keras.utils.set_random_seed` imports TensorFlow whatever the backend, which takes seconds. It
    is called where TensorFlow is the backend or has been imported before. Otherwise a generator
    that `keras.random` has made before for calls without a seed goes on as it was.

    Args:
        seed: The seed.

    Example:
        >>> set_random_seed(1)
        >>> first = keras.random.SeedGenerator().next()
        >>> set_random_seed(1)
        >>> bool(keras.ops.all(first == keras.random.SeedGenerator().next()))
        True
    """
    if keras.backend.backend() == "tensorflow" or "tensorflow" in sys.modules:
        keras.utils.set_random_seed(seed)
        return
    # Keras draws the seeds of layers and initializers by Python's `random`.
    random.seed(seed)
    np.random.seed(seed)
    if keras.backend.backend() == "torch":
        import torch

        torch.manual_seed(seed)
