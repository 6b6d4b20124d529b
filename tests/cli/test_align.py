"""`keras-facealign align` from the command line to the files, with a network of known answers."""

from __future__ import annotations

import csv
import errno
import importlib
import json
import os
import signal
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from keras_facealign import detection, inference
from keras_facealign.cli import main
from keras_facealign.cli.photo_results import PhotoResults
from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.atomic import atomic_path
from tests.inference.dots import DotModel, LeaningModel, dots_in, draw_dots

# The function of the same name hides the module.
cli_align = importlib.import_module("keras_facealign.cli.align")

BOX = (60.0, 40.0, 160.0, 140.0)
SIZE = (240, 200)
FACE = draw_dots(*SIZE, [dots_in(BOX)], sigma=3)


class BoxDetector:
    """Finds the one face of `FACE`, and none in a black image."""

    made: ClassVar[list[dict]] = []

    def __init__(self, **options) -> None:
        self.made.append(options)

    def load(self) -> None:
        pass

    def __call__(self, image):
        return [detection.Detection(BOX, 0.9)] if image.any() else []


@pytest.fixture(autouse=True)
def network(monkeypatch) -> list[str]:
    """Puts the stand-ins in the place of preset and detector; gives the presets asked for."""
    asked: list[str] = []

    def from_preset(name, detector="auto", runtime="auto", flip_test=False):
        asked.append(name)
        if name == "no_such_preset":
            raise FaceAlignError("Unknown preset 'no_such_preset'")
        model = LeaningModel() if name == "leaning" else DotModel()
        return inference.FaceAligner(model, detector, flip_test=flip_test)

    BoxDetector.made.clear()
    monkeypatch.setattr(inference.FaceAligner, "from_preset", from_preset)
    monkeypatch.setattr(detection, "BlazeFaceDetector", BoxDetector)
    return asked


def save(path: Path, image: np.ndarray = FACE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def results(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def landmarks(path: Path) -> np.ndarray:
    return np.array(json.loads(path.read_text(encoding="utf-8"))["landmarks"])


def test_one_photo_gives_an_overlay_and_a_json(tmp_path, capsys, network):
    photo, out = save(tmp_path / "a photo.png"), tmp_path / "new" / "out"
    assert main(["align", str(photo), "--output", str(out)]) == 0
    assert results(out) == ["a photo_face0.json", "a photo_overlay.jpg"]
    record = json.loads((out / "a photo_face0.json").read_text(encoding="utf-8"))
    np.testing.assert_allclose(record["landmarks"], dots_in(BOX), atol=0.05)
    assert record["image"] == str(photo)
    assert record["image_size"] == list(SIZE)
    assert record["score"] == 0.9
    with Image.open(out / "a photo_overlay.jpg") as overlay:
        assert overlay.size == SIZE
        assert np.abs(np.asarray(overlay).astype(int) - FACE).max() > 50
    assert network == ["sat1_cab_mobile"]
    assert "1 face in 1 photo" in capsys.readouterr().out


def test_faces_that_are_not_reliable_are_named(tmp_path, capsys):
    dim = save(tmp_path / "dim.png", FACE // 4)
    assert main(["align", str(dim), "--output", str(tmp_path / "out")]) == 0
    assert f"{dim}: not reliable: face 0; likely no face" in capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "dim_face0.json").read_text(encoding="utf-8"))
    assert record["reliable"] is False


@pytest.mark.parametrize("kind", ["csv", "pts"])
def test_other_formats(kind, tmp_path):
    photo, out = save(tmp_path / "a.png"), tmp_path / "out"
    options = ["--format", kind, "--no-overlay", "--preset", "other", "--min-face", "33"]
    assert main(["align", str(photo), "-o", str(out), *options]) == 0
    assert results(out) == [f"a_face0.{kind}"]
    text = (out / f"a_face0.{kind}").read_text()
    if kind == "csv":
        points = [[row["x"], row["y"]] for row in csv.DictReader(text.splitlines())]
    else:
        points = [line.split() for line in text.split("{")[1].split("}")[0].strip().splitlines()]
    offset = 1 if kind == "pts" else 0
    np.testing.assert_allclose(np.array(points, float) - offset, dots_in(BOX), atol=0.05)
    assert BoxDetector.made == [{"min_face_size": 33.0}]


@pytest.mark.parametrize("flip_test", [False, True])
def test_with_the_mirror_image_a_lean_to_one_side_cancels(flip_test, tmp_path):
    photo = save(tmp_path / "photo.png")
    options = ["--output", str(tmp_path / "out"), "--preset", "leaning", "--no-overlay"]
    assert main(["align", str(photo), *options, *(["--flip-test"] if flip_test else [])]) == 0
    lean = landmarks(tmp_path / "out" / "photo_face0.json") - dots_in(BOX)
    # The crop shows 1.3 times the box's 100 pixels on 128.
    expected = 0 if flip_test else 3 * 130 / 128
    np.testing.assert_allclose(lean, [[expected, 0]] * 3, atol=0.05)


def test_coco_is_one_file_for_all_photos(tmp_path, capsys):
    paths = [save(tmp_path / "a.png"), save(tmp_path / "wall.png", np.zeros_like(FACE))]
    paths.append(save(tmp_path / "b.png"))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    words = [str(path) for path in [*paths, tmp_path / "broken.png"]]
    assert main(["align", *words, "-o", str(out), "--format", "coco", "--no-overlay"]) == 0
    assert results(out) == ["coco.json"]
    record = json.loads((out / "coco.json").read_text(encoding="utf-8"))
    assert [image["file_name"] for image in record["images"]] == [p.as_posix() for p in paths]
    assert [item["image_id"] for item in record["annotations"]] == [1, 3]
    for item in record["annotations"]:
        points = np.array(item["keypoints"]).reshape(3, 3)
        np.testing.assert_allclose(points[:, :2], dots_in(BOX), atol=0.05)
    assert record["categories"][0]["keypoints"] == ["line_0", "line_1", "line_2"]
    assert "2 faces in 3 photos" in capsys.readouterr().out


def test_a_photo_without_a_face_is_reported_and_is_not_an_error(tmp_path, capsys):
    photo, out = save(tmp_path / "wall.png", np.zeros_like(FACE)), tmp_path / "out"
    assert main(["align", str(photo), "--output", str(out)]) == 0
    assert "wall.png: no face found" in capsys.readouterr().out
    assert results(out) == []


def test_folders_are_searched_and_subfolders_kept_apart(tmp_path):
    folder, out = tmp_path / "photos", tmp_path / "out"
    for name in ("x.png", "x.jpg", "sub/x.png", "sub/deep/Y.PNG", ".hidden.png"):
        save(folder / name)
    (folder / "notes.txt").write_text("no photo")
    options = ["--no-overlay", "--output", str(out)]
    assert main(["align", str(folder), *options]) == 0
    assert results(out) == ["x_face0.json", "x_png_face0.json"]
    assert main(["align", str(folder), "--recursive", *options]) == 0
    deep = ["sub/deep/Y_face0.json", "sub/x_face0.json"]
    assert results(out) == [*deep, "x_face0.json", "x_png_face0.json"]


def test_photos_of_one_name_do_not_overwrite_each_other(tmp_path):
    paths = [save(tmp_path / name) for name in ("a/p.png", "b/p.png", "c/P.png", "c/p_png.png")]
    out = tmp_path / "out"
    # The first photo a second time: it is aligned once.
    arguments = [str(path) for path in [*paths, paths[0]]]
    assert main(["align", *arguments, "--output", str(out), "--no-overlay"]) == 0
    files = results(out)
    assert len(files) == 4
    images = {json.loads((out / name).read_text(encoding="utf-8"))["image"] for name in files}
    assert images == {str(path) for path in paths}


def test_results_of_an_earlier_run_inside_the_folder_are_not_read_as_photos(tmp_path):
    folder = tmp_path / "photos"
    save(folder / "p.png")
    command = ["align", str(folder), "--recursive", "--output", str(folder / "out")]
    for _ in range(2):
        assert main(command) == 0
        assert results(folder) == ["out/p_face0.json", "out/p_overlay.jpg", "p.png"]


def test_the_folder_of_photos_cannot_be_the_output(tmp_path, capsys):
    save(tmp_path / "p.png")
    assert main(["align", str(tmp_path), "--output", str(tmp_path)]) == 2
    assert "choose another" in capsys.readouterr().err
    assert results(tmp_path) == ["p.png"]


def test_an_input_is_never_overwritten(tmp_path):
    photo = save(tmp_path / "p.png")
    like_a_result = save(tmp_path / "p_overlay.jpg", FACE[::-1].copy())
    before = like_a_result.read_bytes()
    command = ["align", str(photo), str(like_a_result), "--output", str(tmp_path)]
    assert main(command) == 0
    assert like_a_result.read_bytes() == before
    assert "p_png_overlay.jpg" in results(tmp_path)


def test_one_bad_file_among_many_stops_nothing_and_is_listed(tmp_path, capsys):
    folder, out = tmp_path / "photos", tmp_path / "out"
    for name in ("a.png", "c.png", "e.png"):
        save(folder / name)
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes()[:300])
    (folder / "d.jpg").write_bytes(b"")
    command = ["align", str(folder), str(tmp_path / "missing.png"), "--no-overlay"]
    assert main([*command, "--output", str(out)]) == 0
    assert results(out) == ["a_face0.json", "c_face0.json", "e_face0.json"]
    captured = capsys.readouterr()
    assert "3 faces in 3 photos" in captured.out
    lines = captured.err.strip().splitlines()
    assert lines[0] == "3 of 6 inputs failed:"
    for name in ("b.png", "d.jpg", "missing.png"):
        assert sum(name in line for line in lines[1:]) == 1
    assert main([*command, "--strict", "--output", str(out)]) == 2


def write_cut_png(path: Path) -> None:
    save(path)
    path.write_bytes(path.read_bytes()[:200])


def write_huge_header(path: Path) -> None:
    # A PNG whose header promises 20000 x 20000 pixels.
    save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = (20000).to_bytes(4, "big") * 2
    import zlib

    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)


@pytest.mark.parametrize(
    "write",
    [
        write_cut_png,
        write_huge_header,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("no picture"),
        lambda path: None,
        lambda path: path.mkdir(),
    ],
    ids=["cut", "huge", "empty", "text", "missing", "empty folder"],
)
def test_a_single_bad_input_is_one_line_and_exit_code_2(write, tmp_path, capsys, network):
    path = tmp_path / "bad.png"
    write(path)
    assert main(["align", str(path), "--output", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.strip().splitlines()
    assert str(path) in line
    assert "Traceback" not in line
    # It is found out before anything slow is loaded.
    assert network == []


def test_all_bad_is_exit_code_2(tmp_path, capsys):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    paths[0].write_bytes(b"x")
    assert main(["align", *map(str, paths), "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "a.png" in error and "b.png" in error


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.convert("L"),
        lambda image: image.convert("RGBA"),
        lambda image: image.convert("P"),
        lambda image: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257),
    ],
    ids=["gray", "rgba", "palette", "16 bit"],
)
def test_other_kinds_of_pixels(change, tmp_path):
    path, out = tmp_path / "photo.png", tmp_path / "out"
    change(Image.fromarray(FACE)).save(path)
    assert main(["align", str(path), "--output", str(out)]) == 0
    assert results(out) == ["photo_face0.json", "photo_overlay.jpg"]


def test_an_unknown_preset_ends_the_run(tmp_path, capsys):
    photos = [str(save(tmp_path / name)) for name in ("a.png", "b.png")]
    command = ["align", *photos, "--preset", "no_such_preset", "--output", str(tmp_path / "out")]
    assert main(command) == 2
    assert capsys.readouterr().err.strip().splitlines() == [
        "keras-facealign: Unknown preset 'no_such_preset'"
    ]


def test_boxes_from_a_file_replace_the_detector(tmp_path, capsys):
    photos = [save(tmp_path / name) for name in ("a.png", "b.png", "c.png")]
    boxes, out = tmp_path / "boxes.csv", tmp_path / "out"
    row = ",".join(str(v) for v in BOX)
    boxes.write_text(
        f"image, x0, y0, x1, y1\na.png,{row}\n{photos[1].as_posix()},{row}\na.png,{row}\n"
    )
    command = ["align", *map(str, photos), "--boxes", str(boxes), "--no-overlay"]
    assert main([*command, "--output", str(out)]) == 0
    assert results(out) == ["a_face0.json", "a_face1.json", "b_face0.json"]
    np.testing.assert_allclose(landmarks(out / "b_face0.json"), dots_in(BOX), atol=0.05)
    assert BoxDetector.made == []
    assert "c.png: the file of boxes has none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("image,x0,y0,x1\na.png,1,2,3\n", "no column y1"),
        ("", "is empty"),
        ("image,x0,y0,x1,y1\na.png,1,2,three,4\n", "row 2"),
        ("image,x0,y0,x1,y1\na.png,1,2\n", "row 2"),
        ("image,x0,y0,x1,y1\na.png,10,10,10,40\n", "no area"),
        ("image,x0,y0,x1,y1\na.png,10,10,nan,40\n", "not finite"),
        ("image,x0,y0,x1,y1\na.png,1000,1000,1100,1100\n", "outside"),
        (b"\xff\xfe\x00", "UTF-8"),
        (None, "No such file"),
    ],
)
def test_bad_files_of_boxes(content, complaint, tmp_path, capsys):
    photo, boxes = save(tmp_path / "a.png"), tmp_path / "boxes.csv"
    if content is not None:
        boxes.write_bytes(content if isinstance(content, bytes) else content.encode())
    command = ["align", str(photo), "--boxes", str(boxes), "--output", str(tmp_path / "out")]
    assert main(command) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert complaint in line


def test_a_bare_name_in_the_boxes_must_fit_one_photo(tmp_path, capsys):
    photos = [save(tmp_path / name) for name in ("a/p.png", "b/p.png")]
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("image,x0,y0,x1,y1\np.png," + ",".join(str(v) for v in BOX))
    command = ["align", *map(str, photos), "--boxes", str(boxes), "--output", str(tmp_path / "out")]
    assert main(command) == 2
    assert "p.png fits both" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="POSIX paths")
def test_an_output_that_cannot_be_a_folder(tmp_path, capsys):
    photo = save(tmp_path / "a.png")
    (tmp_path / "file").write_text("x")
    assert main(["align", str(photo), "--output", str(tmp_path / "file" / "out")]) == 2
    assert "file" in capsys.readouterr().err


def test_names_with_markup_are_printed_as_they_are(tmp_path, capsys):
    photo = save(tmp_path / "wall [red].png", np.zeros_like(FACE))
    assert main(["align", str(photo), "--output", str(tmp_path / "out")]) == 0
    assert "wall [red].png: no face found" in capsys.readouterr().out


def test_help_tells_the_exit_code(capsys):
    assert main(["align", "--help"]) == 0
    assert "exit code" in " ".join(capsys.readouterr().out.split())


ODD_NAMES = ["b\udcff.png", "two\nlines.png", "人🙂.png", "a\u202eb.png", "-f.png", "=1.png"]


@pytest.mark.skipif(os.name == "nt", reason="names of POSIX")
@pytest.mark.parametrize("kind", ["json", "coco"])
def test_odd_names_are_names(kind, tmp_path, capsys):
    folder, out = tmp_path / "[red]", tmp_path / "out"
    for number, name in enumerate([*ODD_NAMES, "x" * 251 + ".png"]):
        save(folder / name, FACE if number % 2 else np.zeros_like(FACE))
    (folder / "broken\n\udcff\x1b[31m.png").write_bytes(b"x")
    words = ["align", str(folder), "--format", kind, "--output", str(out)]
    assert main(words) == 0
    captured = capsys.readouterr()
    assert "3 faces in 7 photos" in captured.out
    assert r"b\udcff.png: no face found" in captured.out
    assert r"broken\n\udcff\x1b[31m.png: " in captured.err
    assert "\x1b" not in captured.out + captured.err
    assert len([name for name in results(out) if name.endswith("overlay.jpg")]) == 3
    if kind == "coco":
        listed = json.loads((out / "coco.json").read_text(encoding="utf-8"))["images"]
        names = {image["file_name"].rpartition("/")[2] for image in listed}
        assert names == {*ODD_NAMES, "x" * 251 + ".png"}


@pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")
def test_odd_files_of_a_folder_fail_alone(tmp_path, capsys):
    folder, out = tmp_path / "photos", tmp_path / "photos" / "out"
    save(folder / "a.png")
    save(folder / "late.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    (folder / "._a.png").write_bytes(b"x")
    (folder / "raw.nef").write_bytes(b"x")
    (folder / "empty.png").touch()
    assert main(["align", str(folder), "-o", str(out)]) == 0
    captured = capsys.readouterr()
    assert "2 faces in 2 photos" in captured.out
    lines = captured.err.splitlines()
    for name, reason in (
        ("loop.png", "Too many levels of symbolic links"),
        ("gone.png", "No such file"),
        ("pipe.png", "is not a regular file"),
        ("empty.png", "is empty"),
        ("folder.png", "is a folder"),
        ("._a.png", "is a hidden file"),
        ("raw.nef", "is a camera's raw file; convert it"),
    ):
        assert sum(name in line and reason in line for line in lines) == 1, name
    assert main(["align", str(folder), "-o", str(out), "--strict"]) == 2
    assert main(["align", str(folder / "loop.png"), "-o", str(out)]) == 2
    assert "Too many levels of symbolic links" in capsys.readouterr().err


def test_a_photo_that_must_be_converted_fails_a_strict_run(tmp_path, capsys):
    save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.cr2").write_bytes(b"x")
    words = ["align", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    assert [main(words), main([*words, "--strict"])] == [0, 2]
    (tmp_path / "in" / "a.png").unlink()
    assert main(words) == 2
    assert "b.cr2 is a camera's raw file; convert it" in capsys.readouterr().err


def test_a_photo_that_vanishes_during_the_run(tmp_path, monkeypatch):
    photos = [save(tmp_path / name) for name in ("a.png", "b.png", "c.png")]
    write = PhotoResults.write

    def write_and_delete(self, *args):
        write(self, *args)
        photos[1].unlink(missing_ok=True)

    monkeypatch.setattr(PhotoResults, "write", write_and_delete)
    words = ["align", *map(str, photos), "-o", str(tmp_path / "out"), "--no-overlay"]
    assert main(words) == 0
    assert results(tmp_path / "out") == ["a_face0.json", "c_face0.json"]


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("kind", ["json", "csv", "pts", "coco"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_keeps_what_is_done(kind, number, code, tmp_path, monkeypatch, capsys):
    photos = [save(tmp_path / f"{i}.png") for i in range(4)]
    read = cli_align.read_image

    def read_and_stop(path):
        if path == photos[1]:
            os.kill(os.getpid(), number)
        return read(path)

    monkeypatch.setattr(cli_align, "read_image", read_and_stop)
    words = ["align", *map(str, photos), "-o", str(tmp_path / "out"), "-f", kind, "--no-overlay"]
    assert main(words) == code
    captured = capsys.readouterr()
    assert "2 faces in 2 photos" in captured.out
    assert captured.err.strip().endswith("ed; 2 of 4 photos done")
    found = results(tmp_path / "out")
    assert found == (["coco.json"] if kind == "coco" else [f"{i}_face0.{kind}" for i in range(2)])
    if kind == "coco":
        record = json.loads((tmp_path / "out" / "coco.json").read_text())
        assert len(record["images"]) == len(record["annotations"]) == 2


@pytest.mark.parametrize("kind", ["json", "csv", "pts", "coco"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_ends_the_run_and_counts_truly(kind, code, tmp_path, monkeypatch, capsys):
    photos = [save(tmp_path / f"{i}.png") for i in range(5)]
    out, replace, count = tmp_path / "out", os.replace, iter(range(100))
    out.mkdir()
    (out / "2_face0.json").write_text("earlier")
    (out / "coco.json").write_text("earlier")

    def fail(source, target):
        # Each photo writes two files, of which the fifth and all later ones fail.
        if next(count) >= (0 if kind == "coco" else 4):
            raise OSError(code, os.strerror(code))
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    words = ["align", *map(str, photos), "-o", str(out), "--format", kind]
    assert main([*words, *(["--no-overlay"] if kind == "coco" else [])]) == 2
    captured = capsys.readouterr()
    assert os.strerror(code) in captured.err.splitlines()[-1]
    assert sum(os.strerror(code) in line for line in captured.err.splitlines()) == 1
    assert ("2 faces in 2 photos" in captured.out) == (kind != "coco")
    assert (out / "coco.json").read_text() == "earlier"
    assert (out / "2_face0.json").read_text() == "earlier"
    new = [f"{i}_{part}" for i in range(2) for part in (f"face0.{kind}", "overlay.jpg")]
    assert results(out) == sorted({"2_face0.json", "coco.json", *(new if kind != "coco" else [])})


def test_results_of_one_photo_that_cannot_be_written_fail_the_run_at_its_end(tmp_path, capsys):
    photos = [save(tmp_path / name) for name in ("a.png", "b.png", "c.png")]
    (tmp_path / "out" / "b_face0.json" / "full").mkdir(parents=True)
    words = ["align", *map(str, photos), "-o", str(tmp_path / "out"), "--no-overlay"]
    assert main(words) == 2
    captured = capsys.readouterr()
    assert "2 faces in 2 photos" in captured.out
    assert "1 of 3 inputs failed" in captured.err and "b_face0.json: cannot be" in captured.err
    assert results(tmp_path / "out") == ["a_face0.json", "c_face0.json"]


def test_an_output_that_is_a_file(tmp_path, capsys):
    photo = save(tmp_path / "a.png")
    assert main(["align", str(photo), "--output", str(photo)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "a.png: the folder cannot be created (File exists)" in line


def test_partial_files_of_killed_runs_go(tmp_path):
    photo, out = save(tmp_path / "a.png", np.zeros_like(FACE)), tmp_path / "out"
    with atomic_path(tmp_path / "b.json") as partial:
        pass
    out.mkdir()
    (out / partial.name).touch()
    assert main(["align", str(photo), "--output", str(out)]) == 0
    assert results(out) == []
