"""Checksums of exported files, and trials of files without one in another process."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.runtimes.exported import load_graph
from keras_facealign.runtimes.metadata import read_metadata
from keras_facealign.runtimes.verification import UNSIGNED, sign, verify
from keras_facealign.storage import child_process
from tests.paths import ROOT

PRESET = ROOT / "saved_models" / "sat1_cab_mobile"
SHIPPED = sorted((ROOT / "saved_models").glob("*/*.tflite"))


@pytest.fixture(scope="module")
def content():
    return (PRESET / "model_int8.tflite").read_bytes()


@pytest.fixture
def no_trial(monkeypatch):
    monkeypatch.setattr(child_process, "_outcome", lambda *_: pytest.fail("a process was started"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_shipped_files_have_their_checksum(path, no_trial):
    assert len(read_metadata(path)["checksum"]) == 64
    verify(path.read_bytes(), path.name, "litert")


@pytest.mark.parametrize("place", [30, 1000, 700_000, -1, -100])
def test_a_changed_byte_is_noticed_before_a_runtime_sees_it(content, place, no_trial):
    damaged = bytearray(content)
    damaged[place] ^= 4
    with pytest.raises(FaceAlignError, match="a.tflite"):
        verify(bytes(damaged), "a.tflite", "litert")


def test_signing_changes_the_digits_alone(content):
    checksum = read_metadata(PRESET / "model_int8.tflite")["checksum"].encode()
    unsigned = content.replace(checksum, UNSIGNED.encode())
    with pytest.raises(FaceAlignError, match="does not have its checksum"):
        verify(unsigned, "a.tflite", "litert")
    assert sign(unsigned) == content


def unsigned(content: bytes) -> bytes:
    return content.replace(b'"checksum"', b'"comments"')


def test_a_file_without_checksum_is_tried_once(content, monkeypatch, tmp_path):
    path = tmp_path / "other.tflite"
    path.write_bytes(unsigned(content))
    graph = load_graph(path, "litert")
    images = np.zeros((1, 128, 128, 3), np.uint8)
    theirs = load_graph(PRESET / "model_int8.tflite", "litert")(images)
    for name, values in graph(images).items():
        np.testing.assert_array_equal(values, theirs[name])
    monkeypatch.setattr(child_process, "_outcome", lambda *_: pytest.fail("tried again"))
    load_graph(path, "litert")


def operators(content: bytes) -> list[int]:
    """Places of the lists of inputs and outputs of the graph's operators."""
    data = np.frombuffer(content[: len(content) // 4 * 4], "<u4").astype(np.int64)
    known = data.size
    # A list of three small numbers, as a convolution's inputs have.
    small = (data[1:-2] < 2000) & (data[2:-1] < 2000) & (data[3:] < 2000)
    return [int(p) * 4 for p in np.flatnonzero((data[:-3] == 3) & small)[:known]]


def test_files_that_kill_a_process_are_an_error(content, tmp_path):
    """Inputs of operators lead to tensors that do not exist; the test goes on living."""
    refused = 0
    places = operators(content)
    for place in places[:: max(1, len(places) // 3)]:
        damaged = bytearray(unsigned(content))
        damaged[place + 4 : place + 8] = (1900).to_bytes(4, "little")
        path = tmp_path / "damaged.tflite"
        path.write_bytes(damaged)
        try:
            load_graph(path, "litert")
        except FaceAlignError as error:
            refused += 1
            assert "damaged.tflite" in str(error) and "\n" not in str(error)
    assert refused
