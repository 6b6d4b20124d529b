"""Reads and writes landmark schemes as YAML or JSON files.

    name: own21                       # your own, short
    names: [right_brow_0, ...]        # or num_landmarks: 21
    flip_pairs: [[0, 3], [4, 5]]      # landmarks that a mirror image exchanges; [] for none
    regions: {brows: [0, 1, 2, 3]}    # parts of the report
    lines: [[0, 1], [2, 3]]           # of the drawing
    normalizer: [4, 9]                # outer corners of the eyes, right and left; or box_size

YAML needs the package PyYAML, which every extra with a backend installs; JSON always works.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from os import PathLike
from pathlib import Path
from typing import Any

from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks.definition import scheme_from_dict, scheme_to_dict
from keras_facealign.landmarks.scheme import LandmarkScheme
from keras_facealign.storage.atomic import atomic_write
from keras_facealign.storage.reading import decode_text, one_line, parse_json, read_file

SCHEME_SUFFIXES = (".yaml", ".yml", ".json")

_MAX_BYTES = 1_000_000


def read_scheme(path: str | PathLike[str]) -> LandmarkScheme:
    """Reads a scheme file.

    Args:
        path: A `.yaml`, `.yml` or `.json` file; for its keys see `scheme_from_dict`.

    Returns:
        The scheme.

    Raises:
        FaceAlignError: If the file cannot be read, PyYAML is not installed, or a value is wrong;
            the message names the file, the key and the value.

    Example:
        >>> read_scheme("my.yaml").num_landmarks  # doctest: +SKIP
        21
    """
    path = Path(path)
    kind = _kind(path)
    content = read_file(path, _MAX_BYTES)
    if kind == ".json":
        values = parse_json(content, path)
    else:
        values = _parse_yaml(decode_text(content, path), path)
    return scheme_from_dict(values, str(path))


def write_scheme(scheme: LandmarkScheme, path: str | PathLike[str]) -> Path:
    """Writes a scheme file.

    Args:
        scheme: The scheme.
        path: A `.yaml`, `.yml` or `.json` file. A YAML file has the keys in reading order, a list a
            line.

    Returns:
        The path.

    Raises:
        FaceAlignError: If the name has another ending, or the file cannot be written.
    """
    path = Path(path)
    values = scheme_to_dict(scheme)
    text = _json(values) if _kind(path) == ".json" else _yaml(values)
    return atomic_write(path, lambda file: file.write(text.encode()))


def is_scheme_file(name: str | PathLike[str]) -> bool:
    """Whether a name is that of a scheme file, not that of a scheme."""
    return Path(name).suffix.lower() in SCHEME_SUFFIXES


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SCHEME_SUFFIXES:
        raise FaceAlignError(
            f"{path}: a scheme file's name ends in {', '.join(SCHEME_SUFFIXES)}; rename it"
        )
    return ".json" if suffix == ".json" else ".yaml"


def _parse_yaml(text: str, path: Path) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise FaceAlignError(
            f"{path}: YAML needs the package PyYAML, which is not installed; pip install pyyaml, "
            "or give the scheme as a .json file"
        ) from error

    class Loader(yaml.SafeLoader):
        """Plain values only, without references, which grow beyond the size of the file."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.events.AliasEvent):
                raise FaceAlignError(f"{path}: has a reference (*), which schemes do not need.")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
            for key, times in keys.items():
                if times > 1:
                    raise FaceAlignError(f"{path}: the key {key[:80]!r} is there {times} times.")
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader)
    except FaceAlignError:
        raise
    except Exception as error:  # also RecursionError and ValueError of odd dates
        raise FaceAlignError(
            f"{path}: cannot be read as YAML ({one_line(error)}); correct it"
        ) from error


def _json(values: dict[str, Any]) -> str:
    text = json.dumps(values, indent=2, ensure_ascii=False)
    # Innermost lists in one line each.
    return re.sub(r"\[[^\[\]{}]*\]", lambda m: re.sub(r"\s*\n\s*", " ", m[0]), text) + "\n"


_COMMENTS = {
    "names": "names of the landmarks, counted from 0",
    "flip_pairs": "landmarks that change places in a mirror image",
    "regions": "parts of the report",
    "lines": "lines of the drawing",
    "normalizer": "outer corners of the eyes, right and left; or box_size",
    "face_box": "box of the face in units of the tight box of the landmarks",
}


def _yaml(values: dict[str, Any]) -> str:
    """Writes YAML by hand: JSON's lists and texts are YAML's too."""
    lines = []
    for key, value in values.items():
        if key in _COMMENTS:
            lines.append(f"# {_COMMENTS[key]}")
        if isinstance(value, dict):
            lines += [f"{key}:", *(f"  {_text(k)}: {_text(v)}" for k, v in value.items())]
        elif isinstance(value, list) and value and all(isinstance(v, list) for v in value):
            lines += [f"{key}:", *(f"  - {_text(v)}" for v in value)]
        else:
            lines.append(f"{key}: {_text(value)}")
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w-]*", value, re.ASCII):
        # These read as truth values or nothing.
        words = {"y", "n", "yes", "no", "true", "false", "on", "off", "null"}
        return json.dumps(value) if value.lower() in words else value
    return json.dumps(value, ensure_ascii=False)
