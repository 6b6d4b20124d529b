"""Runs Python code in a process of its own, where nothing is imported yet."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.paths import ROOT


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
    )
