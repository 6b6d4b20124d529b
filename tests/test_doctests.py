"""The examples in docstrings run, and print what they show, on the TensorFlow backend."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.paths import ROOT

PACKAGE = ROOT / "keras_facealign"

# Examples may use these without importing them; all else they import or define.
NAMES = {"np": np, "keras": keras}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = [
    module_name(path)
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


class BackendNeutralChecker(doctest.OutputChecker):
    """Takes TensorFlow's `TensorShape([1, 2])` for the tuple that it is on other backends."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        got = re.sub(r"TensorShape\(\[(\d+)\]\)", r"(\1,)", got)
        got = re.sub(r"TensorShape\(\[([\d, ]*)\]\)", r"(\1)", got)
        return super().check_output(want, got, optionflags)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="examples show TensorFlow")
@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(
        BackendNeutralChecker(), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    failures: list[str] = []
    for test in doctest.DocTestFinder().find(importlib.import_module(name), extraglobs=NAMES):
        keras.utils.set_random_seed(0)
        runner.run(test, out=failures.append)
    assert not failures, "".join(failures)
