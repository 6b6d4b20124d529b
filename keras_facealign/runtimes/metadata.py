"""Reads the metadata of exported files without TensorFlow, Keras or ONNX.

Every export carries one JSON object, `format` 1:

================ ========= ======================================================================
key              type      meaning
================ ========= ======================================================================
format           int       1
preset           str       name of the preset or model
scheme           str       landmark scheme, see `keras_facealign.landmarks.get_scheme`
own_scheme       object    the whole scheme, see `keras_facealign.landmarks.scheme_from_dict`;
                           only if it is none of this library's
edges            list      pairs of landmarks to join by a line, [[0, 1], ...]
eyes             list      landmarks of the right and of the left eye, whose means show how far a
                           face leans; only if they are known
face_box         list      the box that a face is cropped by in units of the tight box of its
                           landmarks, x0, y0, x1, y1; only if it is not the tight box
num_landmarks    int       K
input_size       int       S, side of the square crop in pixels
decode           bool      True: landmarks and confidence come out; False: heatmaps
decode_method    str       how heatmaps are decoded, see `keras_facealign.ops`
landmark_offset  list      (dx, dy) in pixels to add to decoded heatmaps; the output
                           `landmarks` includes it. May be missing: (0, 0)
outputs          list      names of the outputs
batch            int/null  faces in a call; null: any number
quantize         str       "none", "float16" or "int8"
box_scale        float     side of the crop in units of the face box's longer side
license          str       of the weights
checksum         str       SHA-256 of the file, see `verification`; none in SavedModels and files of
                           before version 0.2
version          str       of the package that wrote the file
================ ========= ======================================================================

`edges`, `eyes` and `face_box` are for programs that know no schemes; older files lack them.

It lies in a `.tflite` file's metadata buffer "keras_facealign", in an `.onnx` file's property of
that name, and in a SavedModel's `assets.extra/keras_facealign.json`. The first two formats are
parsed here only as far as needed to find it: FlatBuffers tables, protocol buffer fields.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.reading import MAX_FILE_BYTES, parse_json, read_file

FORMAT = 1
METADATA_NAME = "keras_facealign"
SIGNATURE = "serving_default"
"""Name of the one signature that SavedModels and TFLite files have."""
QUANTIZATIONS = ("none", "float16", "int8")

_MAX_JSON_BYTES = 1_000_000
# Far more than any network has buffers, or fields of one message; each costs microseconds.
_MAX_ITEMS = 200_000
_MAX_BATCH = 4096
_MAX_INPUT_BYTES = 2**30
_MAX_SIDE = 4096
_MAX_LANDMARKS = 10_000
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "preset": str,
    "scheme": str,
    "num_landmarks": int,
    "input_size": int,
    "decode": bool,
    "decode_method": str,
    "landmark_offset": list,
    "outputs": list,
    "batch": (int, type(None)),
    "quantize": str,
    "box_scale": (int, float),
    "license": str,
    "version": str,
}


class _Damaged(Exception):
    """An offset points outside of the file."""


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads the metadata that `keras_facealign.export` wrote into a file.

    Args:
        path: A `.tflite` or `.onnx` file, or a SavedModel's folder (with or without the version).

    Returns:
        The metadata, see the module.

    Raises:
        FaceAlignError: If the file is missing, damaged, or was not written by this package.

    Example:
        >>> read_metadata("saved_models/sat1_cab_mobile/model.tflite")["input_size"]
        ... # doctest: +SKIP
        128
    """
    path = Path(path)
    if path.is_dir():
        return _read_saved_model(path)
    text = embedded_text(read_file(path, MAX_FILE_BYTES), str(path))
    if text is None:
        raise FaceAlignError(
            f"{path} was not written by keras-facealign: it has no metadata {METADATA_NAME!r}; "
            "make one with keras-facealign export."
        )
    return parse_metadata(text, path)


def embedded_text(content: bytes, name: str) -> bytes | None:
    """Finds the metadata in a file.

    Args:
        content: A TFLite or ONNX file.
        name: Name for error messages.

    Returns:
        The JSON, or None if there is none.

    Raises:
        FaceAlignError: If the file is neither, or its structure is damaged.
    """
    is_tflite = content[4:8] == b"TFL3"
    try:
        return _tflite_text(content) if is_tflite else _onnx_text(content)
    except _Damaged as error:
        kind = "a damaged TFLite file" if is_tflite else "neither a TFLite nor an ONNX file"
        raise FaceAlignError(
            f"{name} is {kind} ({error}); export it again with keras-facealign export"
        ) from error


def parse_metadata(text: bytes, path: Path) -> dict[str, Any]:
    """Parses and checks the JSON.

    Args:
        text: UTF-8.
        path: Where it comes from, for messages.

    Returns:
        The metadata.

    Raises:
        FaceAlignError: If it is not JSON, has another format, or a value is missing or wrong.
    """
    if len(text) > _MAX_JSON_BYTES:
        raise FaceAlignError(f"{path}: its metadata has {len(text)} bytes; export it again")
    value = parse_json(text, f"{path}: its metadata", "export it again")
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        found = value.get("format") if isinstance(value, dict) else value
        raise FaceAlignError(
            f"{path} has metadata of format {_short(found)}, and this version reads {FORMAT}; "
            "update keras_facealign or export the file again."
        )
    value.setdefault("landmark_offset", [0.0, 0.0])
    for key, kind in _FIELDS.items():
        # bool is a subclass of int but not valid as a number here.
        wrong_bool = isinstance(value.get(key), bool) and kind is not bool
        if key not in value or not isinstance(value[key], kind) or wrong_bool:
            raise FaceAlignError(f"{path}: metadata {key!r} is {_short(value.get(key))}.")
    side, batch = value["input_size"], value["batch"]
    possible = {
        "num_landmarks": 1 <= value["num_landmarks"] <= _MAX_LANDMARKS,
        "input_size": 1 <= value["input_size"] <= _MAX_SIDE,
        "batch": batch is None
        or (1 <= batch <= _MAX_BATCH and batch * side * side * 3 <= _MAX_INPUT_BYTES),
        "quantize": value["quantize"] in QUANTIZATIONS,
        "box_scale": 0.1 <= value["box_scale"] <= 10,  # false for NaN
        "landmark_offset": _is_offset(value["landmark_offset"], value["input_size"]),
        "outputs": all(isinstance(name, str) for name in value["outputs"]),
    }
    if "own_scheme" in value:
        own = value["own_scheme"]
        possible["own_scheme"] = isinstance(own, dict) and own.get("name") == value["scheme"]
    for key, good in possible.items():
        if not good:
            raise FaceAlignError(f"{path}: metadata {key!r} is {_short(value[key])}.")
    return value


def _short(value: Any) -> str:
    return repr(value)[:80]


def _is_offset(value: list[Any], input_size: int) -> bool:
    numbers = [v for v in value if isinstance(v, (int, float)) and not isinstance(v, bool)]
    return len(numbers) == len(value) == 2 and all(abs(v) <= input_size / 8 for v in numbers)


def _read_saved_model(folder: Path) -> dict[str, Any]:
    versions = [f for f in folder.iterdir() if re.fullmatch("[0-9]{1,18}", f.name)]
    newest = max(versions, key=lambda f: int(f.name), default=folder)
    for version in (folder, newest):
        path = version / "assets.extra" / f"{METADATA_NAME}.json"
        if path.is_file():
            return parse_metadata(read_file(path, _MAX_JSON_BYTES), path)
    raise FaceAlignError(
        f"{folder} is not a SavedModel of keras-facealign: it has no assets.extra/"
        f"{METADATA_NAME}.json; make one with keras-facealign export --format saved_model."
    )


# ---- FlatBuffers: tables of offsets, all little-endian ------------------------------------------

# Field numbers in the tables Model, Metadata and Buffer of TFLite's schema.
_MODEL_BUFFERS, _MODEL_METADATA = 4, 6
_METADATA_FIELD_NAME, _METADATA_FIELD_BUFFER = 0, 1
_BUFFER_DATA = 0


def _tflite_text(data: bytes) -> bytes | None:
    model = _uint(data, 0)
    buffers = _tables(data, _field(data, model, _MODEL_BUFFERS))
    # All buffers are read, so that a truncated file is noticed.
    contents = [_bytes(data, _field(data, table, _BUFFER_DATA)) for table in buffers]
    for table in _tables(data, _field(data, model, _MODEL_METADATA)):
        name = _bytes(data, _field(data, table, _METADATA_FIELD_NAME))
        place = _field(data, table, _METADATA_FIELD_BUFFER)
        index = _uint(data, place) if place else 0
        if bytes(name) == METADATA_NAME.encode():
            if index >= len(contents):
                raise _Damaged(f"buffer {index} of {len(contents)}")
            return bytes(contents[index])
    return None


def _uint(data: bytes, place: int, code: str = "<I") -> int:
    size = struct.calcsize(code)
    if place < 0 or place + size > len(data):
        raise _Damaged(f"byte {place} of {len(data)}")
    return struct.unpack_from(code, data, place)[0]


def _field(data: bytes, table: int, number: int) -> int:
    """Byte offset of a table's field; 0 if the field is missing."""
    description = table - _uint(data, table, "<i")
    entry = 4 + 2 * number
    if entry + 2 > _uint(data, description, "<H"):
        return 0
    offset = _uint(data, description + entry, "<H")
    return table + offset if offset else 0


def _vector(data: bytes, place: int, item: int) -> tuple[int, int]:
    """First byte and length of the vector that an offset points to."""
    if not place:
        return 0, 0
    start = place + _uint(data, place)
    count = _uint(data, start)
    if start + 4 + count * item > len(data):
        raise _Damaged(f"{count} items at byte {start} of {len(data)}")
    return start + 4, count


def _tables(data: bytes, place: int) -> list[int]:
    first, count = _vector(data, place, 4)
    if count > _MAX_ITEMS:
        raise _Damaged(f"a table of {count} entries")
    places = [first + 4 * i for i in range(count)]
    return [place + _uint(data, place) for place in places]


def _bytes(data: bytes, place: int) -> memoryview:
    start, count = _vector(data, place, 1)
    return memoryview(data)[start : start + count]


# ---- Protocol buffers: a tag, then a number or a length and as many bytes ------------------------

_ONNX_GRAPH, _ONNX_PROPERTIES = 7, 14
_KEY, _VALUE = 1, 2


def _onnx_text(data: bytes) -> bytes | None:
    fields = list(_messages(memoryview(data)))
    if not any(number == _ONNX_GRAPH for number, _ in fields):
        raise _Damaged("no graph in it")
    for number, content in fields:
        if number == _ONNX_PROPERTIES:
            entry = dict(_messages(content))
            if bytes(entry.get(_KEY, b"")) == METADATA_NAME.encode():
                return bytes(entry.get(_VALUE, b""))
    return None


def _messages(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yields number and bytes of the fields with a length; skips plain numbers."""
    place = count = 0
    while place < len(data):
        count += 1
        if count > _MAX_ITEMS:
            raise _Damaged(f"a message of more than {_MAX_ITEMS} fields")
        tag, place = _varint(data, place)
        kind = tag & 7
        if kind == 0:
            _, place = _varint(data, place)
            continue
        if kind not in (1, 2, 5):
            raise _Damaged(f"byte {place}")
        size = 8 if kind == 1 else 4
        if kind == 2:
            size, place = _varint(data, place)
        if size > len(data) - place:
            raise _Damaged(f"{size} bytes at byte {place} of {len(data)}")
        if kind == 2:
            yield tag >> 3, data[place : place + size]
        place += size


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if place >= len(data):
            raise _Damaged(f"byte {place} of {len(data)}")
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise _Damaged(f"byte {place}")
