"""Every reader on damaged files, and on those that once did harm: results, or `FaceAlignError`.

`python -m tests.fuzz` reads as many as you like.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fuzz.runner import sample
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).with_name("corpus")
# Inputs that take about half a second, besides what all have in common: the start of a process.
INPUTS = {name: max(1, min(150, int(0.4 / target.cost))) for name, target in TARGETS.items()}
# Those need Keras, and its backend.
HEAVY = ("packed", "preset_config", "weights", "weights_to_halve")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux does")


@pytest.mark.slow
@pytest.mark.parametrize("heavy", [False, True], ids=["light", "keras"])
def test_damaged_files(heavy):
    counts = {name: count for name, count in INPUTS.items() if (name in HEAVY) == heavy}
    harmful = {name: [str(path) for path in sorted(CORPUS.glob(f"{name}/*"))] for name in counts}
    found = sample(counts, seed=1, files=harmful)
    failures = [each for each in found if each["end"] not in ("result", "error")]
    assert not failures, failures[:3]
    for name, count in counts.items():
        ends = [each["end"] for each in found if each["target"] == name]
        assert len(ends) == count + len(harmful[name])
        # Those that once did harm are refused.
        assert set(ends[count:]) <= {"error"}, harmful[name]


def test_files_that_once_did_harm_have_a_reader():
    files = list(CORPUS.glob("*/*"))
    assert len(files) >= 24 and {path.parent.name for path in files} <= set(TARGETS)
