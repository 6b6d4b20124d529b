"""Scheme files in YAML and JSON."""

from __future__ import annotations

import builtins

import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import SCHEMES, read_scheme, scheme_from_dict, write_scheme

yaml = pytest.importorskip("yaml")

OWN = {
    "name": "own4",
    "names": ["on", "null", "- dash: [x]", "größer"],
    "flip_pairs": [],
    "regions": {"no": [0, 1], "a b": [2]},
    "lines": [[0, 1], [2, 3]],
    "normalizer": [0, 1],
    "face_box": [-0.25, 0, 1, 1.5],
}


@pytest.mark.parametrize("ending", [".yaml", ".yml", ".json", ".JSON"])
@pytest.mark.parametrize("scheme", [*SCHEMES.values(), scheme_from_dict(OWN)])
def test_round_trip(tmp_path, scheme, ending):
    assert read_scheme(write_scheme(scheme, tmp_path / f"scheme{ending}")) == scheme


def test_yaml_is_read_as_pyyaml_reads_it(tmp_path):
    path = write_scheme(scheme_from_dict(OWN), tmp_path / "own.yaml")
    assert yaml.safe_load(path.read_text("utf-8")) == {"num_landmarks": 4, **OWN}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "num_landmarks: 3\nflip_pairs: [[0, 3]]\n", "flip_pairs is 3; give the index"),
        ("a.yaml", "num_landmarks: 3\nnum_landmarks: 4\n", "'num_landmarks' is there 2 times"),
        ("a.yaml", "x: &a [1]\ny: *a\n", r"has a reference \(\*\)"),
        ("a.yaml", "!!python/object/apply:os.getcwd []\n", "cannot be read as YAML"),
        ("a.yaml", "[" * 5000, "cannot be read as YAML"),
        ("a.yaml", "a: [1", "cannot be read as YAML"),
        ("a.yaml", "- 1\n", "must hold keys and values"),
        ("a.json", "{", "cannot be read"),
        ("a.json", '{"num_landmarks": 3, "lines": [[0, 5]]}', "lines is 5"),
        ("a.txt", "num_landmarks: 3", "ends in .yaml, .yml, .json"),
        ("a.yaml", "", "the file is empty"),
    ],
)
def test_bad_files_are_named(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FaceAlignError, match=message) as caught:
        read_scheme(path)
    assert str(path) in str(caught.value)


def test_missing_file_and_encoding(tmp_path):
    with pytest.raises(FaceAlignError, match="cannot be opened"):
        read_scheme(tmp_path / "none.yaml")
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: größer".encode("latin-1"))
    with pytest.raises(FaceAlignError, match="is not a text file in UTF-8"):
        read_scheme(path)


def test_without_pyyaml(tmp_path, monkeypatch):
    path = write_scheme(SCHEMES["five"], tmp_path / "five.yaml")
    real = builtins.__import__

    def no_yaml(name, *args, **kwargs):
        if name == "yaml":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_yaml)
    with pytest.raises(FaceAlignError, match="pip install pyyaml, or give the scheme as a .json"):
        read_scheme(path)
