"""What all tests share: the seed, a word on the backend, and the marker `backend_neutral`."""

from __future__ import annotations

import importlib.util
import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

BACKENDS = ("tensorflow", "jax", "torch")
if "KERAS_BACKEND" not in os.environ:
    # Keras takes TensorFlow unless told otherwise, also where only another backend is installed.
    installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
    if installed and installed[0] != "tensorflow":
        os.environ["KERAS_BACKEND"] = installed[0]

# Arithmetic in keras.ops lives here; it has to come out the same on every backend.
NEUTRAL_FOLDERS = ("ops", "layers", "models")
NEUTRAL_FILES = (
    "test_augmentation.py",
    "test_augmentation_disturbances.py",
    "test_augmentation_effects.py",
    "test_device_steps.py",
    "test_examples_train_gpu.py",
    "test_geometry.py",
    "test_losses.py",
    "test_metrics.py",
    "test_optimizers.py",
    "test_targets.py",
)

SEED = 20


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "backend_neutral: must pass on every Keras backend; set by a test's place in tests/",
    )


def pytest_report_header() -> list[str]:
    import keras

    backend = keras.backend.backend()
    return [
        f"keras {keras.__version__}, backend {backend} {sys.modules[backend].__version__}, "
        f"numpy {np.__version__}",
        f"KERAS_FACEALIGN_DATA={os.environ.get('KERAS_FACEALIGN_DATA', 'unset')}",
    ]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here not in item.path.parents:
            continue
        parts = item.path.relative_to(here).parts
        # A test that goes through the backends by itself need not be repeated under each.
        walks_backends = "backend" in getattr(getattr(item, "callspec", None), "params", {})
        if (parts[0] in NEUTRAL_FOLDERS or parts in [(f,) for f in NEUTRAL_FILES]) and (
            not walks_backends
        ):
            item.add_marker("backend_neutral")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random state, whatever ran before it."""
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(SEED)
    else:
        random.seed(SEED)
        np.random.seed(SEED)
