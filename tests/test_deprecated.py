"""Names and modules of version 0.1 still work, with a warning that names the new ones."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings

import pytest

import keras_facealign
from keras_facealign import _deprecated

MODULES = _deprecated._MODULES
NAMES = _deprecated._NAMES


def full(name: str) -> str:
    return f"keras_facealign.{name}"


@pytest.fixture(autouse=True)
def forgotten_old_modules():
    """Old modules are imported afresh: a warning comes with the first import only."""
    old = [name for name in sys.modules if name.partition(".")[2] in MODULES]
    for name in old:
        del sys.modules[name]


@pytest.mark.parametrize(("old", "new"), MODULES.items())
def test_old_modules_pass_the_new_ones_names_on(old, new):
    target = importlib.import_module(full(new))
    public = getattr(target, "__all__", ())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        parent = old.rpartition(".")[0]
        if parent:
            importlib.import_module(full(parent))
    with pytest.warns(DeprecationWarning) as caught:
        module = importlib.import_module(full(old))
    assert f"{full(old)} is now {full(new)}; the old module goes in" in str(caught[-1].message)
    for name in public:
        assert getattr(module, name) is getattr(target, name)


@pytest.mark.parametrize(("old", "new"), NAMES.items())
def test_old_names_are_the_new_ones(old, new):
    module, _, name = old.rpartition(".")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        source = importlib.import_module(full(module) if module else "keras_facealign")
    with pytest.warns(DeprecationWarning) as caught:
        value = getattr(source, name)
    assert f"{full(old)} is now {full(new)}; the old name goes in" in str(caught[-1].message)
    module, _, name = new.rpartition(".")
    assert value is getattr(importlib.import_module(full(module)), name)


def test_warnings_point_at_the_line_that_uses_the_old_name(tmp_path):
    script = tmp_path / "old.py"
    script.write_text("from keras_facealign.files import write_whole\n", encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-W", "default::DeprecationWarning", str(script)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr.count(f"{script}:1: DeprecationWarning") == 2  # the module and the name


def test_every_new_name_is_reached_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        for name in keras_facealign.__all__:
            getattr(keras_facealign, name)
