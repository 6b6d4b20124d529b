"""Checks exported files before a runtime gets them, whose C++ code damaged files can crash.

Exports carry a checksum of themselves in their metadata, the SHA-256 of the file with zeros in
place of its digits. Files without one, of other programs or of earlier versions, are first tried in
a process of their own, which may die.
"""

from __future__ import annotations

import hashlib
import re

from keras_facealign.errors import FaceAlignError
from keras_facealign.runtimes.metadata import embedded_text
from keras_facealign.storage.child_process import check_in_child

UNSIGNED = "0" * 64
"""The metadata's `checksum` of a file that `sign` has not seen."""

_CHECKSUM = re.compile(rb'"checksum"\s*:\s*"([0-9a-f]{64})"')


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
        check_in_child("keras_facealign.runtimes.trial.run", content, name, runtime)
        return
    unsigned = content.replace(found[1], UNSIGNED.encode(), 1)
    if hashlib.sha256(unsigned).hexdigest().encode() != found[1]:
        raise FaceAlignError(
            f"{name}: is damaged, its content does not have its checksum; get the file again, or "
            "export it again"
        )
