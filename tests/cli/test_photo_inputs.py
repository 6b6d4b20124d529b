"""The photos that `align` is given: their folders, and names for their results."""

from __future__ import annotations

import os

import numpy as np
import pytest

from keras_facealign.cli.photo_inputs import PhotoInputs
from keras_facealign.errors import FaceAlignError
from keras_facealign.formats import write_image


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def targets(inputs):
    return [photo.target.relative_to(inputs.output).as_posix() for photo in inputs.photos]


def test_each_photo_gets_a_name_of_its_own(tmp_path):
    names = ["p.jpg", "p.png", "P.tif", "p_png.jpg", "é.jpg", "e\u0301.png", "p.face.jpg"]
    paths = [make(tmp_path / "in", name) / name for name in names]
    paths.append(make(tmp_path / "other", "p.jpg") / "p.jpg")
    inputs = PhotoInputs([*paths, paths[0]], tmp_path / "out")
    assert targets(inputs) == [
        "p", "p_png", "P_tif", "p_png_jpg", "é", "e\u0301_png", "p.face", "p_jpg",
    ]  # fmt: skip


@pytest.mark.parametrize("letter", ["a", "é", "后", "🙂"])
def test_long_names_are_shortened_and_stay_apart(letter, tmp_path):
    stem = letter * (251 // len(os.fsencode(letter)))
    folder = make(tmp_path / "in", f"{stem}.jpg", f"{stem}.png", f"{stem[:-1]}.jpg", "short.jpg")
    names = targets(PhotoInputs([folder], tmp_path / "out"))
    assert len(set(names)) == 4 and "short" in names
    assert all(len(os.fsencode(f"{name}_face1234.json")) <= 255 for name in names)
    assert sum(name.startswith(letter * 20) for name in names) == 3
    assert names == targets(PhotoInputs([folder], tmp_path / "out"))


@pytest.mark.skipif(os.name == "nt", reason="names of POSIX")
def test_odd_names(tmp_path):
    names = [
        "b\udcff.jpg",
        "two\nlines.jpg",
        "-f.jpg",
        "[red]x[bold].jpg",
        "=1+1.jpg",
        "a\u202eb.jpg",
    ]
    folder = make(tmp_path / "in", *names)
    assert sorted(targets(PhotoInputs([folder], tmp_path / "out"))) == sorted(
        name.removesuffix(".jpg") for name in names
    )


@pytest.mark.skipif(os.name == "nt", reason="links of POSIX")
def test_links_that_lead_to_themselves_are_inputs(tmp_path):
    folder = make(tmp_path / "in", "a.jpg")
    (folder / "z.jpg").symlink_to("z.jpg")
    (folder / "same.jpg").symlink_to("a.jpg")
    inputs = PhotoInputs([folder, folder / "z.jpg"], tmp_path / "out")
    assert [photo.path.name for photo in inputs.photos] == ["a.jpg", "z.jpg"]


def test_own_overlays_are_no_photos(tmp_path):
    folder = make(tmp_path / "in", "p.jpg", "my_overlay.jpg", "out/q.jpg")
    write_image(folder / "p_overlay.jpg", np.zeros((8, 8, 3), np.uint8))
    inputs = PhotoInputs([folder], folder / "out", recursive=True)
    assert targets(inputs) == ["my_overlay", "p"]
    assert [file.reason for file in inputs.skipped] == ["is an overlay of an earlier run"]
    with pytest.raises(FaceAlignError, match="choose another"):
        PhotoInputs([folder / "out"], folder / "out")


def test_what_is_left_out_is_told_by_reason(tmp_path, capsys):
    folder = make(tmp_path / "in", "a.jpg", *(f"{i}.nef" for i in range(5)), ".b.jpg")
    inputs = PhotoInputs([folder], tmp_path / "out")
    assert inputs.unconverted and inputs.failures == []
    inputs.report_skipped()
    hidden, raw = capsys.readouterr().err.splitlines()
    assert hidden == "skipped: .b.jpg is a hidden file"
    assert raw.startswith("skipped 5 files: each is a camera's raw file; convert it to JPEG")
    assert raw.endswith(": 0.nef, 1.nef, 2.nef and 2 more")


def test_folders_without_photos_fail(tmp_path):
    raw = make(tmp_path / "raw", "a.cr2")
    (tmp_path / "empty").mkdir()
    inputs = PhotoInputs([tmp_path / "empty", raw], tmp_path / "out")
    empty, only_raw = inputs.failures
    assert empty.endswith(
        "empty: the folder contains no photos; use --recursive to search its subfolders"
    )
    assert (
        "raw: the folder contains no photos that can be read here; a.cr2 is a camera's" in only_raw
    )
