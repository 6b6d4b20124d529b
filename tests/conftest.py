"""Settings of all tests: the random seed, the report header and the markers."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import os
import random
import signal
import sys
import unittest.mock
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.paths import TESTS

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

BACKENDS = ("tensorflow", "jax", "torch")
if "KERAS_BACKEND" not in os.environ:
    # Keras chooses TensorFlow by default, also where only another backend is installed.
    installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
    if installed and installed[0] != "tensorflow":
        os.environ["KERAS_BACKEND"] = installed[0]

# Tests of arithmetic in keras.ops, which has to come out the same on every backend, by folder or
# file under tests/; the deepest entry decides. Some name the backends that are enough besides
# TensorFlow: what they build of tested layers, JAX compiles for each of dozens of networks.
BACKEND_NEUTRAL: dict[str, bool | tuple[str, ...]] = {
    "examples/test_train_gpu.py": True,
    "geometry": True,
    "layers": True,
    "models": True,
    "models/test_families.py": ("torch",),
    "models/test_mobile_face_net.py": ("torch",),
    "models/test_transfer.py": ("torch",),
    "models/test_weights_file.py": ("torch",),
    "models/test_widening.py": ("torch",),
    "networks": ("torch",),
    "networks/tracing": False,
    "objective": True,
    "objective/test_view_pair.py": ("torch",),
    "ops": True,
    "ops/native": False,
    "training/test_device_loop.py": True,
    "training/test_divergence.py": True,
    "training/test_landmark_offset.py": ("torch",),
    "training/test_optimizers.py": True,
    "training/test_seeds.py": True,
}

SEED = 20


def pytest_collection_finish(session: pytest.Session) -> None:
    # Looking through a million objects for garbage took a twentieth of the tests' time. What
    # imports and collection have made stays, and of the rest, most that is old is used.
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, 40)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cases", type=int, metavar="N", help="run at most N cases of each parametrized test"
    )


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As in the background of a shell script. Tests interrupt commands.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line(
        "markers",
        "backend_neutral: must pass on every Keras backend; set by a test's place in tests/",
    )
    config.addinivalue_line(
        "markers", 'slow: takes more than 5 s; left out of a quick run with -m "not slow"'
    )
    config.addinivalue_line(
        "markers",
        "thorough: slow, and shows on one more backend, kind of processor or kind of training what "
        "another test has shown; .ci/run takes it with --all alone",
    )


def pytest_report_header() -> list[str]:
    import keras

    backend = keras.backend.backend()
    return [
        f"keras {keras.__version__}, backend {backend} {sys.modules[backend].__version__}, "
        f"numpy {np.__version__}",
        f"KERAS_FACEALIGN_DATA={os.environ.get('KERAS_FACEALIGN_DATA', 'unset')}",
    ]


def _backend() -> str:
    return os.environ.get("KERAS_BACKEND", "tensorflow")


def is_backend_neutral(path: Path) -> bool:
    """Whether the tests of a file, given relative to tests/, have to pass on this backend too."""
    for place in (path, *path.parents):
        if place.as_posix() in BACKEND_NEUTRAL:
            entry = BACKEND_NEUTRAL[place.as_posix()]
            return entry if isinstance(entry, bool) else _backend() in ("tensorflow", *entry)
    return False


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Saves importing all others where only backend-neutral or slow tests are asked for."""
    inside = TESTS in collection_path.parents and collection_path.name.startswith("test_")
    if not inside or collection_path.suffix != ".py":
        return None
    asked = config.getoption("markexpr")
    if asked == "backend_neutral" and not is_backend_neutral(collection_path.relative_to(TESTS)):
        return True
    only_slow = asked in ("slow", "slow and not thorough")
    return True if only_slow and "mark.slow" not in collection_path.read_text("utf-8") else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if TESTS not in item.path.parents:
            continue
        # A test with a parameter "backend" runs all backends in processes of its own.
        runs_all_backends = "backend" in getattr(getattr(item, "callspec", None), "params", {})
        if is_backend_neutral(item.path.relative_to(TESTS)) and not runs_all_backends:
            item.add_marker("backend_neutral")
    if most := config.getoption("cases"):
        kept = set(some_cases(items, most))
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = [item for item in items if item in kept]


def some_cases(items: list[pytest.Item], most: int) -> Iterator[pytest.Item]:
    """At most `most` cases of every test, the first, the last and others evenly between them."""
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for some in cases.values():
        places = np.linspace(0, len(some) - 1, min(most, len(some))).round().astype(int)
        yield from (some[place] for place in places)


@pytest.fixture(scope="session", autouse=True)
def graphs_as_traced() -> None:
    """TensorFlow's functions run as they were traced.

    To rewrite a graph for speed takes longer than it saves in a few calls. Commands that tests and
    tutorials start run rewritten graphs, as those of users do; so do exported networks.
    """
    if _backend() == "tensorflow" and "tensorflow" in sys.modules:
        options = {"disable_meta_optimizer": True}
        sys.modules["tensorflow"].config.optimizer.set_experimental_options(options)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random state, whatever ran before it."""
    if "keras" not in sys.modules:
        random.seed(SEED)
        np.random.seed(SEED)
        return
    # To seed TensorFlow again would drop every kernel that it has prepared, among them one for each
    # variable of a network, and what draws with it here names its own seed.
    unchanged = unittest.mock.patch("tensorflow.random.set_seed")
    with unchanged if _tensorflow_is_seeded() else contextlib.nullcontext():
        sys.modules["keras"].utils.set_random_seed(SEED)


def _tensorflow_is_seeded() -> bool:
    try:
        import tensorflow as tf
    except ImportError:
        return False
    return tf.compat.v1.get_seed(0)[0] == SEED


@contextlib.contextmanager
def _functions_run_eagerly() -> Iterator[None]:
    import keras

    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.fixture
def without_graphs() -> Iterator[None]:
    """For tests of what surrounds a few steps: tracing a network takes longer than these do."""
    with _functions_run_eagerly():
        yield


@pytest.fixture(scope="module")
def module_without_graphs() -> Iterator[None]:
    """`without_graphs` for a whole module and its fixtures."""
    with _functions_run_eagerly():
        yield


@pytest.fixture
def without_weights() -> Iterator[None]:
    """For tests of a network's layers and shapes, most of whose building is drawing its weights."""
    import keras

    with keras.StatelessScope(initialize_variables=False):
        yield
