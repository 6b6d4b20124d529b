"""Reads small untrusted JSON files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from keras_facealign.errors import FaceAlignError


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
    try:
        with Path(path).open("rb") as file:
            content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise FaceAlignError(f"{path} is larger than {max_bytes} bytes; it must be smaller.")
        value = json.loads(content)
    except FaceAlignError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise FaceAlignError(f"{path} cannot be read: {error}.") from error
    if not isinstance(value, dict):
        raise FaceAlignError(f"{path} must hold a JSON object.")
    return value
