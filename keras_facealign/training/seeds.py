"""The seed of everything random in a run."""

from __future__ import annotations

import random
import sys

import keras
import numpy as np


def set_random_seed(seed: int) -> None:
    """Seeds Python, NumPy and the backend, as `keras.utils.set_random_seed` does.

    That one imports TensorFlow whatever the backend, which takes seconds. Here, TensorFlow is
    seeded where it is the backend or has been imported before.

    Args:
        seed: The seed.

    Example:
        >>> set_random_seed(1)
        >>> first = keras.random.SeedGenerator().next()
        >>> set_random_seed(1)
        >>> bool((first == keras.random.SeedGenerator().next()).all())
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
