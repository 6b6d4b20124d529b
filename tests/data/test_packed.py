"""Packed files: what goes in comes out, and what is damaged or made up is named."""

from __future__ import annotations

import builtins
import contextlib
import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from keras_facealign.cli import main
from keras_facealign.data import FaceBatches, PackedFaces, crop_with_border, pack
from keras_facealign.data.partition import PARTS, part_of
from keras_facealign.errors import FaceAlignError
from tests.paths import ROOT

K, SIDE, INPUT = 5, 48, 32
DATA = ROOT / "tfds_builders" / "ibug_300w" / "dummy_data"


def example(seed, size=90):
    """A smooth picture with five landmarks."""
    rng = np.random.default_rng(seed)
    grid = np.linspace(0, 3, size)
    waves = np.sin(grid[:, None, None] * rng.uniform(1, 2, 3) + grid[None, :, None])
    points = rng.uniform(25, 60, (K, 2)).astype(np.float32)
    visibility = np.array([2, 1, 2, 2, 2], np.int32)
    return {
        "image": np.rint(127 + 90 * waves).astype(np.uint8),
        "landmarks": points,
        "visibility": visibility,
        "box": np.concatenate([points.min(0), points.max(0)]),
        "file_name": f"set/{seed}é.png",
    }


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "some.faces.npz"
    examples = [example(i) for i in range(5)]
    examples[2]["visibility"] = np.array([2, 0, 2, 2, 2])
    examples[2]["landmarks"][1] = np.nan
    examples[3]["visibility"] = np.zeros(K)
    assert pack(examples, path, 95, SIDE, INPUT) == 5
    return path


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path, **changed):
    """The same archive with some members' bytes, or arrays, replaced; None leaves one out."""
    content = members(path)
    for name, value in changed.items():
        if isinstance(value, np.ndarray):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, value)
            value = buffer.getvalue()
        content[f"{name}.npy"] = value
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in content.items():
            if value is not None:
                archive.writestr(name, value)


def test_round_trip(path):
    faces = PackedFaces(path, batch_size=2)
    # The very crops that training on the data set itself would see, but for the JPEG.
    examples = [example(i) for i in range(5)]
    batches = FaceBatches(examples, 5, INPUT)
    assert faces.input_size == INPUT and faces.images.shape == (5, SIDE, SIDE, 3)
    crops = [
        crop_with_border(e["image"], e["landmarks"], e["box"], INPUT, (SIDE - INPUT) // 2)
        for e in examples
    ]
    for i, (crop, points) in enumerate(crops):
        assert np.abs(faces.images[i].astype(float) - crop).mean() < 3, i
        shown = faces.visibility[i] > 0
        np.testing.assert_allclose(faces.landmarks[i][shown], points[shown], atol=1 / 128 + 1e-6)
        assert (faces.landmarks[i][~shown] == 0).all()
    assert faces.images.dtype == np.uint8 and faces.landmarks.dtype == np.float32
    np.testing.assert_array_equal(faces.visibility[1], [2, 1, 2, 2, 2])
    np.testing.assert_array_equal(faces.visibility[2], [2, 0, 2, 2, 2])
    assert not faces.visibility[3].any()
    assert faces.file_names == [f"set/{i}é.png" for i in range(5)]
    assert {k: (v.dtype, v.shape[1:]) for k, v in faces[0].items()} == {
        k: (v.dtype, v.shape[1:]) for k, v in batches[0].items()
    } | {"image": (np.uint8, (SIDE, SIDE, 3))}


def test_batches_and_their_order(path):
    faces = PackedFaces(path, batch_size=2)
    assert len(faces) == 3
    assert [len(faces[i]["image"]) for i in range(3)] == [2, 2, 1]
    np.testing.assert_array_equal(faces[1]["landmarks"], faces.landmarks[2:4])
    shuffled = PackedFaces(path, batch_size=2, shuffle=True, seed=3)
    assert len(shuffled) == 2

    def order(batches):
        return np.concatenate([batches[i]["landmarks"] for i in range(2)])

    first = order(shuffled)
    shuffled.on_epoch_end()
    second = order(shuffled)
    assert np.abs(first - second).max() > 0
    again = PackedFaces(path, batch_size=2, shuffle=True, seed=3)
    np.testing.assert_array_equal(order(again), first)
    again.start_at(1)
    np.testing.assert_array_equal(order(again), second)
    with pytest.raises(FaceAlignError, match="batch_size is 0"):
        PackedFaces(path, batch_size=0)


def test_pillow_decodes_where_opencv_is_missing(path, monkeypatch):
    expected = PackedFaces(path).images
    real = builtins.__import__

    def without_opencv(name, *args, **kwargs):
        if name == "cv2":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_opencv)
    found = PackedFaces(path).images
    assert np.abs(found.astype(int) - expected).max() <= 3


@pytest.mark.usefixtures("without_graphs")
def test_trains_a_model(tmp_path):
    from keras_facealign.training import TrainingConfig, fit
    from tests.models.tiny import fix_weights, tiny_model
    from tests.training.test_run import examples

    path = tmp_path / "tiny.faces.npz"
    pack(examples(4), path, 90, 48, 32)
    faces = PackedFaces(path, 2, shuffle=True)
    config = TrainingConfig(epochs=1, batch_size=2, compile={"jit_compile": False})
    model = fix_weights(tiny_model())
    result = fit(model, faces, PackedFaces(path, 2), tmp_path / "run", config, verbose=0)
    assert np.isfinite(list(result.values())).all() and result["val_nme"] > 0
    wrong, other = tiny_model(), PackedFaces(path, 2)
    other.input_size = 64
    for sets, name in [((other, None), "faces"), ((faces, other), "validation faces")]:
        with pytest.raises(FaceAlignError, match=f"The {name} are packed for .* 64.*takes 32"):
            fit(wrong, *sets, tmp_path / "other", config, verbose=0)


@pytest.mark.parametrize(("size", "side"), [(32, 48), (30, 44), (128, 192)])
def test_the_border_grows_with_the_input(tmp_path, size, side):
    pack([example(0)], tmp_path / "some.faces.npz", input_size=size)
    faces = PackedFaces(tmp_path / "some.faces.npz", batch_size=1)
    assert faces.images.shape == (1, side, side, 3) and faces.input_size == size


# ---- what cannot be packed ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quality": 0}, "quality is 0"),
        ({"quality": 101}, "quality is 101"),
        ({"side": 31}, "side is 31 and input_size 32"),
        ({"side": 47}, "side is 47"),
        ({"side": 4096}, "side is 4096"),
        ({"max_bytes": 500}, "some.faces.npz would have .* bytes, more than 500"),
        ({"boxes": {}}, "set/0é.png: no box"),
    ],
)
def test_options_that_cannot_be(tmp_path, options, message):
    options = {"side": SIDE, "input_size": INPUT, **options}
    with pytest.raises(FaceAlignError, match=message):
        pack([example(0)], tmp_path / "some.faces.npz", **options)
    assert not list(tmp_path.iterdir())


def test_examples_that_cannot_be(tmp_path):
    path = tmp_path / "some.faces.npz"
    with pytest.raises(FaceAlignError, match="no examples"):
        pack([], path)
    far = example(0)
    far["landmarks"][0] = 1e4
    with pytest.raises(FaceAlignError, match="set/0é.png: a landmark lies .* pixels away"):
        pack([far], path)
    marked = example(1)
    marked["visibility"][2] = 7
    with pytest.raises(FaceAlignError, match="set/1é.png: the visibility of landmark 2 is 7"):
        pack([example(0), marked], path)
    other = example(1)
    other["landmarks"], other["visibility"] = other["landmarks"][:4], other["visibility"][:4]
    with pytest.raises(FaceAlignError, match="set/1é.png: has 4 landmarks, but set/0é.png has 5"):
        pack([example(0), other], path)
    assert not list(tmp_path.iterdir())


# ---- what cannot be read ------------------------------------------------------------------------


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(FaceAlignError, match="none.npz: cannot be opened"):
        PackedFaces(tmp_path / "none.npz")
    path = tmp_path / "x.npz"
    for content in (b"", b"no archive", b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(FaceAlignError, match="x.npz: is not a whole .npz file"):
            PackedFaces(path)
    np.savez(path, header=np.zeros(3))
    with pytest.raises(FaceAlignError, match="header is float64"):
        PackedFaces(path)


def test_every_cut_and_every_flipped_byte_is_an_error_or_harmless(path):
    content = path.read_bytes()
    for end in range(0, len(content) - 1, max(1, len(content) // 40)):
        path.write_bytes(content[:end])
        with pytest.raises(FaceAlignError):
            PackedFaces(path)
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(content), 150):
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(0, 8)
        path.write_bytes(damaged)
        with contextlib.suppress(FaceAlignError):
            PackedFaces(path)


def header_with(path, **changed):
    with np.load(path) as file:
        header = json.loads(file["header"].tobytes())
    return np.frombuffer(json.dumps({**header, **changed}).encode(), np.uint8)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"version": 9}, "version 9"),
        ({"format": "zip"}, "another format"),
        ({"side": 10**9}, "side is 1000000000"),
        ({"side": "48"}, "side is '48'"),
        ({"side": 64}, "not a JPEG of 64 x 64"),
        ({"num_landmarks": 6}, "landmarks is int16"),
        ({"num_landmarks": True}, "num_landmarks is True"),
        ({"input_size": 50}, "some.faces.npz is damaged .side is 48 and input_size 50"),
        ({"input_size": 31}, "side is 48 and input_size 31"),
        ({"input_size": 0}, "input_size is 0"),
    ],
)
def test_headers_that_cannot_be(path, changed, message):
    rewrite(path, header=header_with(path, **changed))
    with pytest.raises(FaceAlignError, match=message):
        PackedFaces(path)


def claim(dtype, shape):
    """An array's header that promises more than comes."""
    buffer = io.BytesIO()
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ends", None, "ends"),
        ("ends", claim(np.int64, (10**12,)), "ends claims 8000000000000 bytes"),
        ("jpeg", claim(np.uint8, (10**9,)), "jpeg claims"),
        ("ends", np.array([1, 2, 3, 4, 5]), "do not fill"),
        ("ends", np.array([5, 4, 3, 2, 1]), "do not fill"),
        ("visibility", np.zeros((5, K), np.float64), "visibility is float64"),
        ("landmarks", np.zeros((4, K, 2), np.int16), "5 images have 4 landmarks"),
        ("visibility", np.full((5, K), 77, np.uint8), "visibility 77 instead of 0, 1 or 2"),
        ("visibility", np.full((5, K), 3, np.uint8), "visibility 3 instead"),
        ("names", np.zeros(3, np.uint8), "5 images have 0 names"),
    ],
)
def test_members_that_cannot_be(path, name, value, message):
    rewrite(path, **{name: value})
    with pytest.raises(FaceAlignError, match=message):
        PackedFaces(path)


def test_objects_are_not_unpickled(path):
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    rewrite(path, names=buffer.getvalue())
    with pytest.raises(FaceAlignError, match="names is object"):
        PackedFaces(path)


def test_a_picture_that_claims_to_be_huge_is_not_decoded(path):
    with np.load(path) as file:
        jpeg = bytearray(file["jpeg"].tobytes())
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    rewrite(path, jpeg=np.frombuffer(bytes(jpeg), np.uint8))
    with pytest.raises(FaceAlignError, match="image 0 .set/0é.png. is not a JPEG of 48 x 48"):
        PackedFaces(path)


# ---- the command --------------------------------------------------------------------------------


def test_command(tmp_path, capsys):
    output = tmp_path / "dummy.faces.npz"
    source = f"ibug_300w:train={DATA}"
    assert main(["pack", source, source, "-o", str(output), "--limit", "2"]) == 0
    assert "4 faces, 0." in capsys.readouterr().out
    faces = PackedFaces(output)
    assert faces.landmarks.shape == (4, 68, 2) and faces.input_size == 128
    np.testing.assert_array_equal(faces.images[:2], faces.images[2:])


def test_command_takes_a_part_of_a_split(tmp_path):
    names = {}
    for part in ("", *PARTS):
        source = f"ibug_300w:train{part and ':'}{part}={DATA}"
        output = tmp_path / f"{part}.faces.npz"
        code = main(["pack", source, "-o", str(output)])
        names[part] = set(PackedFaces(output).file_names) if code == 0 else set()
        assert all(part_of(name) == part for name in names[part] if part)
    everything = names.pop("")
    assert names["train"] and set().union(*names.values()) == everything
    assert sum(map(len, names.values())) == len(everything)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ibug_300w:train:=folder", "-o", "x.faces.npz"], "is not a source"),
        ([f"ibug_300w:train:half={DATA}", "-o", "x.faces.npz"], "There is no part 'half'"),
        (["nonsense", "-o", "x.faces.npz"], "'nonsense' is not a source"),
        (["wflw:train=no/folder", "-o", "x.faces.npz"], "no/folder"),
        ([f"other:train={DATA}", "-o", "x.faces.npz"], "'other'"),
        ([f"ibug_300w:train={DATA}", "-o", "x.npz"], "ends in .faces.npz"),
        ([f"ibug_300w:train={DATA}", "-o", "no/x.faces.npz"], "no: there is no such folder"),
    ],
)
def test_wrong_words(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["pack", *words]) == 2
    assert message in capsys.readouterr().err


def test_reading_needs_neither_tensorflow_nor_pillow(path):
    """A machine with Keras, JAX, NumPy and OpenCV alone can train."""
    script = f"""
import sys
for name in ("PIL", "tensorflow", "torch", "matplotlib", "mtcnn", "typer"):
    sys.modules[name] = None
from keras_facealign.data.packed import PackedFaces
print(PackedFaces({str(path)!r}).images.shape)
"""
    pytest.importorskip("jax")
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={"KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT), "PATH": ""},
    )
    assert result.stdout.strip() == f"(5, {SIDE}, {SIDE}, 3)", result.stderr
