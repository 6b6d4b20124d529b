"""The reader of exported files' metadata, on files built byte by byte."""

from __future__ import annotations

import json
import struct
import subprocess
import sys

import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.runtimes.metadata import read_metadata

GOOD = {
    "format": 1,
    "preset": "tiny",
    "scheme": "ibug68",
    "num_landmarks": 68,
    "input_size": 32,
    "decode": True,
    "decode_method": "taylor",
    "landmark_offset": [0.5, 0.0],
    "outputs": ["confidence", "landmarks"],
    "batch": None,
    "quantize": "none",
    "box_scale": 1.3,
    "license": "none",
    "version": "0.1.0",
}


def field(number, content):
    """A protocol buffer's field with a length."""
    size = len(content)
    length = bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14])
    return bytes([number << 3 | 2]) + length + content


def onnx_file(text, key=b"keras_facealign"):
    """A model with a version number, a graph, and properties around ours."""
    other = field(14, field(1, b"author") + field(2, b"somebody"))
    ours = field(14, field(1, key) + field(2, text))
    return b"\x08\x08" + other + ours + field(7, b"\x0a\x00")


def tflite_file(text, name=b"keras_facealign"):
    """A FlatBuffer with two buffers, of which metadata names the second."""
    out = bytearray(8)
    out[4:8] = b"TFL3"

    def table(fields):
        """Appends a table of 4-byte fields; returns where it and its fields are."""
        count = max(fields, default=-1) + 1
        start = len(out) + 4 + 2 * count
        places = {n: 4 + 4 * i for i, n in enumerate(sorted(fields))}
        out.extend(struct.pack("<HH", 4 + 2 * count, 4 + 4 * len(fields)))
        out.extend(b"".join(struct.pack("<H", places.get(n, 0)) for n in range(count)))
        out.extend(struct.pack("<i", 4 + 2 * count))
        for n in sorted(fields):
            out.extend(struct.pack("<I", fields[n]))
        return start, {n: start + place for n, place in places.items()}

    def point(place):
        struct.pack_into("<I", out, place, len(out) - place)

    def vector(place, items):
        point(place)
        out.extend(struct.pack("<I", len(items)))
        first = len(out)
        out.extend(bytes(4 * len(items)) if isinstance(items, list) else items)
        return first

    root, places = table({4: 0, 6: 0})
    struct.pack_into("<I", out, 0, root)
    entries = vector(places[6], [0])
    start, inner = table({0: 0, 1: 1})
    struct.pack_into("<I", out, entries, start - entries)
    vector(inner[0], name)
    buffers = vector(places[4], [0, 0])
    for i, content in enumerate((b"", text)):
        start, inner = table({0: 0})
        struct.pack_into("<I", out, buffers + 4 * i, start - buffers - 4 * i)
        vector(inner[0], content)
    return bytes(out)


@pytest.mark.parametrize("build", [onnx_file, tflite_file])
def test_metadata_is_found_among_other_things(build, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(build(json.dumps(GOOD).encode()))
    assert read_metadata(path) == GOOD
    path.write_bytes(build(json.dumps(GOOD).encode(), b"min_runtime_version"))
    with pytest.raises(FaceAlignError, match="not written by keras-facealign"):
        read_metadata(path)


@pytest.mark.parametrize("build", [onnx_file, tflite_file])
def test_every_truncation_is_an_error_of_one_line(build, tmp_path):
    path = tmp_path / "model"
    whole = build(json.dumps(GOOD).encode())
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(FaceAlignError, match=r"^[^\n]*$"):
            read_metadata(path)


def test_no_byte_can_be_changed_into_another_kind_of_error(tmp_path):
    """Every byte of the structure set to 0, 127 and 255: metadata, or a FaceAlignError."""
    path = tmp_path / "model"
    for build in (onnx_file, tflite_file):
        whole = build(json.dumps(GOOD).encode())
        for i in [*range(140), *range(len(whole) - 20, len(whole))]:
            for value in (0, 127, 255):
                path.write_bytes(whole[:i] + bytes([value]) + whole[i + 1 :])
                try:
                    assert read_metadata(path)["format"] == 1
                except FaceAlignError as error:
                    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": 2}, "format 2"),
        ({"input_size": True}, "input_size"),
        ({"input_size": 10**6}, "input_size"),
        ({"num_landmarks": 0}, "num_landmarks"),
        ({"num_landmarks": "68"}, "num_landmarks"),
        ({"quantize": "int4"}, "quantize"),
        ({"box_scale": float("nan")}, "box_scale"),
        ({"batch": 0}, "batch"),
        ({"outputs": [1]}, "outputs"),
        ({"decode": 1}, "decode"),
        ({"landmark_offset": [1]}, "landmark_offset"),
        ({"landmark_offset": [0, 1e9]}, "landmark_offset"),
        ({"landmark_offset": [0, float("nan")]}, "landmark_offset"),
        ({"landmark_offset": ["0", 0]}, "landmark_offset"),
    ],
)
def test_impossible_values_are_named(change, complaint, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite_file(json.dumps({**GOOD, **change}).encode()))
    with pytest.raises(FaceAlignError, match=complaint):
        read_metadata(path)


def test_missing_keys_and_other_json_are_named(tmp_path):
    path = tmp_path / "model.onnx"
    for text, complaint in (
        (json.dumps({k: v for k, v in GOOD.items() if k != "scheme"}), "scheme"),
        ("[1]", "format"),
        ("{", "cannot be read"),
        ("[" * 50_000, "cannot be read"),
        (json.dumps({**GOOD, "license": "x" * 2_000_000}), "has 2000"),
    ):
        path.write_bytes(onnx_file(text.encode()))
        with pytest.raises(FaceAlignError, match=complaint):
            read_metadata(path)


def test_files_of_before_the_offset_have_none(tmp_path):
    path = tmp_path / "model.onnx"
    text = json.dumps({k: v for k, v in GOOD.items() if k != "landmark_offset"})
    path.write_bytes(onnx_file(text.encode()))
    assert read_metadata(path) == {**GOOD, "landmark_offset": [0.0, 0.0]}


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(FaceAlignError, match="nowhere"):
        read_metadata(tmp_path / "nowhere.tflite")
    with pytest.raises(FaceAlignError, match="not a SavedModel"):
        read_metadata(tmp_path)
    path = tmp_path / "text.tflite"
    path.write_text("This is neither a TFLite nor an ONNX file at all.")
    with pytest.raises(FaceAlignError, match="neither a TFLite nor an ONNX file"):
        read_metadata(path)


def test_the_newest_version_of_a_saved_model_counts(tmp_path):
    for version in ("2", "10", "9"):
        extra = tmp_path / version / "assets.extra"
        extra.mkdir(parents=True)
        text = json.dumps({**GOOD, "version": version})
        (extra / "keras_facealign.json").write_text(text)
    assert read_metadata(tmp_path)["version"] == "10"
    assert read_metadata(tmp_path / "2")["version"] == "2"


def test_reading_loads_neither_keras_nor_numpy():
    code = (
        "import sys; from keras_facealign.runtimes.metadata import read_metadata;"
        "sys.exit(any(m in sys.modules for m in ('keras', 'tensorflow', 'numpy', 'onnx')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
