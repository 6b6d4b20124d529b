"""The command `synthesize-poses`: what it writes, that it resumes, and what it refuses."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_facealign.cli import main
from keras_facealign.data import write_pts
from keras_facealign.data.face_profiling import Camera, load_head_model, load_samples
from keras_facealign.data.face_profiling.camera import rotation_from_angles
from tests.data.face_profiling.head import texture, write_model


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("head") / "head.npz")


@pytest.fixture
def faces(tmp_path, head):
    """A folder as 300W's with two good faces and a broken one."""
    folder = tmp_path / "300w" / "afw"
    folder.mkdir(parents=True)
    model = load_head_model(head)
    marks = model.neutral[model.landmarks].astype(np.float64)
    for index, yaw in enumerate((15.0, -45.0)):
        camera = Camera(rotation_from_angles(0, yaw, 0), 7.0, np.array([110.0, 98.0]))
        Image.fromarray(texture()).save(folder / f"face{index}.png")
        write_pts(folder / f"face{index}.pts", camera.project(marks)[:, :2])
    Image.fromarray(texture()).save(folder / "wrong.png")
    write_pts(folder / "wrong.pts", np.random.default_rng(0).uniform(20, 180, (68, 2)))
    return tmp_path / "300w"


def run(faces, head, output, *more):
    words = ["synthesize-poses", "--data", str(faces), "--model", str(head), "-o", str(output)]
    return main([*words, "--yaws", "30,60", "--size", "48", *more])


def test_views_are_written_and_a_second_run_makes_only_what_is_missing(
    tmp_path, faces, head, capsys
):
    output = tmp_path / "out"
    assert run(faces, head, output) == 0
    printed = capsys.readouterr()
    assert "2 faces made, 0 existed" in printed.out
    assert "1 of 3 faces failed" in printed.err and "afw/wrong.png" in printed.err
    read = list(load_samples(output, strict=True))
    assert [face.file_name for face in read] == [
        *(f"afw/face0_{i}.jpg" for i in range(3)),
        *(f"afw/face1_{i}.jpg" for i in range(2)),
    ]
    turns = [float(face.extras["turn"]) for face in read]
    assert abs(turns[1] - 30) <= 5 and abs(turns[2] - 60) <= 5 and abs(turns[4] + 60) <= 5
    with Image.open(output / "contact_sheet.png") as sheet:
        assert sheet.size == (4 * 224, 2 * 224)
    times = {path: path.stat().st_mtime_ns for path in output.rglob("*.npz")}
    first = (output / "afw/face1_1.jpg").read_bytes()
    (output / "afw/face1_1.jpg").unlink()
    assert run(faces, head, output) == 0
    assert "1 faces made, 1 existed" in capsys.readouterr().out
    assert (output / "afw/face1_1.jpg").read_bytes() == first
    assert (output / "afw/face0.npz").stat().st_mtime_ns == times[output / "afw/face0.npz"]


def test_limit_and_seed(tmp_path, faces, head, capsys):
    assert run(faces, head, tmp_path / "a", "--limit", "1", "--sheet", "0") == 0
    assert run(faces, head, tmp_path / "b", "--limit", "1", "--seed", "1") == 0
    assert not (tmp_path / "a" / "contact_sheet.png").exists()
    turns = [[float(f.extras["turn"]) for f in load_samples(tmp_path / name)] for name in "ab"]
    assert len(turns[0]) == 3
    assert turns[0][0] == turns[1][0] and turns[0][1] != turns[1][1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--yaws", "30,x"], "--yaws '30,x' is not a list of numbers"),
        (["--yaws", "120"], "Yaw 120 is not within 0 to 90"),
        (["--split", "common"], "needs helen/testset, lfpw/testset"),
        (["--model", "gone.npz"], "gone.npz: cannot be opened"),
    ],
)
def test_unusable_input_is_one_line_and_exit_code_2(tmp_path, faces, head, capsys, more, message):
    assert run(faces, head, tmp_path / "out", *more) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_another_seed_does_not_go_into_the_same_folder(tmp_path, faces, head, capsys):
    assert run(faces, head, tmp_path / "out", "--limit", "1") == 0
    assert run(faces, head, tmp_path / "out", "--seed", "3") == 2
    assert "was made with seed 0, not 3" in capsys.readouterr().err


def test_when_no_face_can_be_used_the_exit_code_is_2(tmp_path, faces, head, capsys):
    for path in (faces / "afw").glob("face*.pts"):
        path.write_text("nothing")
    assert run(faces, head, tmp_path / "out") == 2
    assert "3 of 3 faces failed" in capsys.readouterr().err


def test_real_faces(tmp_path, capsys):
    root = os.environ.get("KERAS_FACEALIGN_DATA")
    model = Path(root or "", "ict_facekit", "ict_facekit_f16.npz")
    if not root or not model.is_file() or not Path(root, "300w").is_dir():
        pytest.skip("KERAS_FACEALIGN_DATA has no folders 300w and ict_facekit")
    words = ["--data", f"{root}/300w", "--model", str(model), "-o", str(tmp_path / "out")]
    assert main(["synthesize-poses", *words, "--limit", "3", "--yaws", "50,80"]) == 0
    read = list(load_samples(tmp_path / "out", strict=True))
    assert len(read) == 9 and all(face.image.shape == (256, 256, 3) for face in read)
    # 300W-LP's angles: the yaw of the label is near the turn for heads that are nearly upright.
    assert all(abs(f.extras["pose"][1] - f.extras["turn"]) < 12 for f in read)
