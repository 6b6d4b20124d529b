"""Reads small untrusted JSON files."""

from __future__ import annotations

import os
from typing import Any

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.reading import parse_json, read_file


def read_json_object(path: str | os.PathLike[str], max_bytes: int = 1_000_000) -> dict[str, Any]:
    """Reads a JSON file that holds an object.

    Args:
        path: The file.
        max_bytes: Larger files are refused.

    Returns:
        The object.

    Raises:
        FaceAlignError: If the file cannot be read, is too large, or holds no JSON object.
    """
    value = parse_json(read_file(path, max_bytes), path)
    if not isinstance(value, dict):
        raise FaceAlignError(f"{path}: must hold a JSON object")
    return value
