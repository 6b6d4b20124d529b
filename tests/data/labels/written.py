"""Small pictures and label files for the tests of the readers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def picture(folder: Path, name: str, size: tuple[int, int] = (64, 48)) -> Path:
    """Writes a gray picture; returns its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.arange(size[0] * size[1] * 3).reshape(size[1], size[0], 3) % 251
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def write(folder: Path, name: str, content: Any, encoding: str = "utf-8") -> Path:
    """Writes text, or a value as JSON."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(text.encode(encoding))
    return path


def coco(*faces: dict[str, Any], names: tuple[str, ...] = ("a", "b", "c")) -> dict[str, Any]:
    """A COCO file: each face has `file`, `keypoints`, and what else its annotation has."""
    files = list(dict.fromkeys(face["file"] for face in faces))
    return {
        "info": {"year": 2026},
        "images": [
            {"id": 10 + i, "file_name": name, "width": 64, "height": 48}
            for i, name in enumerate(files)
        ],
        "categories": [{"id": 1, "name": "face", "keypoints": list(names), "skeleton": [[1, 3]]}],
        "annotations": [
            {"id": i, "image_id": 10 + files.index(face["file"]), "category_id": 1}
            | {key: value for key, value in face.items() if key != "file"}
            for i, face in enumerate(faces)
        ],
    }


def lines(labels: Any) -> str:
    """All that a set leaves out."""
    return "\n".join(str(error) for error in labels.skipped)
