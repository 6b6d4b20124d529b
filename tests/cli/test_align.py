"""`keras-facealign align` from the command line to the files, with a network of known answers."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from keras_facealign import detection, inference
from keras_facealign.cli import main
from keras_facealign.errors import FaceAlignError
from tests.inference.dots import DotModel, LeaningModel, dots_in, draw_dots

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

    def from_preset(name, detector="mtcnn", runtime="auto", flip_test=False):
        asked.append(name)
        if name == "no_such_preset":
            raise FaceAlignError("Unknown preset 'no_such_preset'")
        model = LeaningModel() if name == "leaning" else DotModel()
        return inference.FaceAligner(model, detector, flip_test=flip_test)

    BoxDetector.made.clear()
    monkeypatch.setattr(inference.FaceAligner, "from_preset", from_preset)
    monkeypatch.setattr(detection, "MTCNNDetector", BoxDetector)
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
        ("image,x0,y0,x1,y1\na.png,1,2,three,4\n", "line 2"),
        ("image,x0,y0,x1,y1\na.png,1,2\n", "line 2"),
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
