"""`keras-facealign convert-mxnet` from a checkpoint to faces aligned with the preset."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from keras_facealign.cli import main
from keras_facealign.converters import load_mxnet, write_params
from keras_facealign.converters.mxnet.manifest import expected_arrays
from keras_facealign.networks import Architecture
from keras_facealign.presets import from_preset, preset_architecture

SAT = Architecture("sat", 1, 3, "resnet", width=0.125)
HOURGLASS = Architecture("hourglass", 1, 1, "resnet", width=0.125, deformable="heads")


@pytest.fixture
def checkpoint(tmp_path):
    """Writes the checkpoint of an architecture, with small random weights, as one epoch."""

    def checkpoint(arch, epoch=0):
        rng = np.random.default_rng(epoch)
        arrays = {
            name: np.abs(rng.normal(0.5, 0.1, shape))
            if "_var" in name
            else rng.normal(0, 0.1, shape)
            for name, shape in expected_arrays(arch)
        }
        return write_params(tmp_path / f"net-{epoch:04d}.params", arrays)

    return checkpoint


def rows_of(text):
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("│")]
        if len(cells) == 4:
            rows[cells[1]] = cells[2]
    return rows


def test_a_prefix_becomes_a_preset(checkpoint, tmp_path, capsys):
    checkpoint(HOURGLASS, 3)
    path = checkpoint(HOURGLASS, 12)
    assert main(["convert-mxnet", str(tmp_path / "net"), "-o", str(tmp_path / "preset")]) == 0
    printed = capsys.readouterr().out
    assert f"Reading {path}" in printed.replace("\n", "")
    expected = sum(int(np.prod(shape)) for _, shape in expected_arrays(HOURGLASS))
    rows = rows_of(printed)
    assert float(rows.pop("GMAC")) > 0
    assert rows == {
        "Topology": "hourglass",
        "Stacks": "1",
        "Depth": "1",
        "Block": "resnet",
        "Width": "0.125",
        "Landmarks": "68 (ibug68)",
        "Input": "128 x 128",
        "Deformable": "heads",
        "Variant": "dfa",
        "Gate": "no",
        "Spatial transformer": "no",
        "Parameters": f"{expected:,}",
    }
    metadata = json.loads((tmp_path / "preset" / "metadata.json").read_text())
    assert metadata["source_file"] == "net-0012.params"
    assert metadata["source_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert metadata["description"].startswith("Converted from MXNet: 1 x hourglass, depth 1, resn")
    assert metadata["license"].startswith("unknown")
    assert metadata["parameters"] == expected
    model, wanted = from_preset(tmp_path / "preset"), load_mxnet(path)
    assert model.architecture == wanted.architecture == HOURGLASS
    for found, value in zip(model.get_weights(), wanted.get_weights(), strict=True):
        np.testing.assert_array_equal(found, value)


def test_faces_are_aligned_with_the_preset(checkpoint, tmp_path):
    path = checkpoint(replace(HOURGLASS, deformable="none"))
    assert main(["convert-mxnet", str(path), "--output", str(tmp_path / "preset")]) == 0
    pixels = np.random.default_rng(0).integers(0, 256, (200, 240, 3), "uint8")
    Image.fromarray(pixels).save(tmp_path / "face.png")
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\nface.png,60,40,160,140\n")
    arguments = ["--boxes", str(tmp_path / "boxes.csv"), "--preset", str(tmp_path / "preset")]
    assert main(["align", str(tmp_path / "face.png"), "-o", str(tmp_path / "out"), *arguments]) == 0
    face = json.loads((tmp_path / "out" / "face_face0.json").read_text())
    assert np.shape(face["landmarks"]) == (68, 2)
    assert face["scheme"] == "ibug68"


def test_an_epoch_can_be_chosen(checkpoint, tmp_path, capsys):
    checkpoint(HOURGLASS, 3)
    checkpoint(HOURGLASS, 12)
    prefix, output = str(tmp_path / "net"), str(tmp_path / "preset")
    assert main(["convert-mxnet", prefix, "-o", output, "--epoch", "3"]) == 0
    metadata = json.loads((tmp_path / "preset" / "metadata.json").read_text())
    assert metadata["source_file"] == "net-0003.params"
    assert main(["convert-mxnet", prefix, "-o", output, "--epoch", "4"]) == 2
    assert "has no epoch 4; choose one of: 3, 12" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option, graph, gate, note",
    [
        ([], None, "no", True),
        (["--gate"], None, "yes", False),
        (["--no-gate"], None, "no", False),
        ([], "avg", "yes", False),
        ([], "max", "no", False),
        (["--no-gate"], "avg", "no", False),
    ],
)
def test_the_gate(checkpoint, tmp_path, capsys, option, graph, gate, note):
    path = checkpoint(SAT)
    if graph:
        nodes = [{"op": "Pooling", "attrs": {"pool_type": graph}}]
        (tmp_path / "net-symbol.json").write_text(json.dumps({"nodes": nodes}))
    assert main(["convert-mxnet", str(path), "-o", str(tmp_path / "preset"), *option]) == 0
    printed = capsys.readouterr().out
    assert rows_of(printed)["Gate"] == gate
    assert ("The arrays do not show" in printed) is note
    assert preset_architecture(tmp_path / "preset").gate is (gate == "yes")


def test_a_scheme_can_be_named(checkpoint, tmp_path, capsys):
    path = checkpoint(HOURGLASS)
    output = tmp_path / "preset"
    assert main(["convert-mxnet", str(path), "-o", str(output), "--scheme", "cofw29"]) == 2
    assert "does not fit scheme 'cofw29'" in capsys.readouterr().err
    assert not output.exists()


def test_what_cannot_be_converted_is_one_line_and_exit_code_2(tmp_path, capsys):
    (tmp_path / "net-0000.params").write_bytes(b"\0" * 100)
    for source, message in (
        ("net", "net-0000.params: it begins with 0x0"),
        ("nothing", "there is neither such a file nor nothing-0000.params"),
    ):
        arguments = ["convert-mxnet", str(tmp_path / source), "-o", str(tmp_path / "preset")]
        assert main(arguments) == 2
        printed = capsys.readouterr().err
        assert message in printed
        assert printed.count("\n") == 1
    assert not (tmp_path / "preset").exists()
