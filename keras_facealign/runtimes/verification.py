"""Checks exported files before a runtime gets them, whose C++ code damaged files can crash.

Exports carry a checksum of themselves in their metadata, the SHA-256 of the file with zeros in
place of its digits. Files without one, of other programs or of earlier versions, are first tried in
a process of their own, which may die.
"""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys

from keras_facealign.errors import FaceAlignError
from keras_facealign.runtimes.metadata import embedded_text

UNSIGNED = "0" * 64
"""The metadata's `checksum` of a file that `sign` has not seen."""

_CHECKSUM = re.compile(rb'"checksum"\s*:\s*"([0-9a-f]{64})"')
_SECONDS = 60.0
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from keras_facealign.runtimes.trial import main; main(*sys.argv[2:])"
)
# Digests of the files that were tried, and what was wrong with them.
_tried: dict[str, str] = {}


def sign(content: bytes) -> bytes:
    """Writes the checksum into a file whose metadata has `checksum` with the value `UNSIGNED`.

    Args:
        content: The file.

    Returns:
        The file with its checksum, of the same length.
    """
    digits = UNSIGNED.encode()
    return content.replace(digits, hashlib.sha256(content).hexdigest().encode(), 1)


def verify(content: bytes, name: str, runtime: str) -> None:
    """Checks a file by its checksum, or else by trying it in a process of its own.

    A process is started once for each file and takes about half a second. The checksum protects
    from damage, not from a forger, who can compute it, too.

    Args:
        content: The TFLite or ONNX file.
        name: Name for error messages.
        runtime: "litert" or "onnx".

    Raises:
        FaceAlignError: If the checksum is another, or the file cannot be run.
    """
    found = _CHECKSUM.search(embedded_text(content, name) or b"")
    if found is None:
        _try(content, name, runtime)
        return
    unsigned = content.replace(found[1], UNSIGNED.encode(), 1)
    if hashlib.sha256(unsigned).hexdigest().encode() != found[1]:
        raise FaceAlignError(
            f"{name}: is damaged, its content does not have its checksum; get the file again, or "
            "export it again"
        )


def _try(content: bytes, name: str, runtime: str) -> None:
    key = f"{runtime} {hashlib.sha256(content).hexdigest()}"
    if key not in _tried:
        _tried[key] = _outcome(content, runtime)
    if _tried[key]:
        raise FaceAlignError(
            f"{name}: cannot be run, a trial in another process ended with: {_tried[key]}; export "
            "it again"
        )


def _outcome(content: bytes, runtime: str) -> str:
    """Runs a file in a new process; returns what went wrong, "" if nothing did."""
    command = [sys.executable, "-I", "-c", _PROGRAM, json.dumps(sys.path), runtime]
    try:
        process = subprocess.run(
            command, input=content, capture_output=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no result after {_SECONDS:.0f} s"
    except OSError as error:
        return f"the process does not start ({error})"
    if process.returncode < 0:
        return signal.Signals(-process.returncode).name
    # The last line: runtimes print before.
    lines = process.stdout.decode("utf-8", "replace").split("\n")
    return lines[-1][:300] if process.returncode == 0 else f"exit code {process.returncode}"
