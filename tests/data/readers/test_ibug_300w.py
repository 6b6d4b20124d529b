"""300W on small folders, and on the real copy where there is one."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_facealign.data.pts import write_pts
from keras_facealign.data.readers import ibug_300w
from keras_facealign.errors import FaceAlignError
from tests.data.readers.drawn_faces import make_face, real_copy


@pytest.fixture
def whole_300w(tmp_path):
    """Two faces in each folder of 300W."""
    for index, folder in enumerate(ibug_300w.FOLDERS):
        for face in range(2):
            make_face(tmp_path / folder, f"face_{face}", seed=10 * index + face)
    return tmp_path


def test_splits_add_up_to_the_official_counts():
    sizes = {
        split: sum(ibug_300w.FOLDERS[folder] for folder in folders)
        for split, folders in ibug_300w.SPLITS.items()
    }
    assert sizes == {
        "train": 3148,
        "helen_test": 330,
        "lfpw_test": 224,
        "common": 554,
        "challenge": 135,
        "full": 689,
        "test": 600,
    }


def test_whole_copy(whole_300w):
    survey = ibug_300w.survey(whole_300w)
    assert survey.found == {s: 2 * len(folders) for s, folders in ibug_300w.SPLITS.items()}
    assert survey.missing == ()
    for split, folders in ibug_300w.SPLITS.items():
        examples = list(ibug_300w.load_samples(whole_300w, split, strict=True))
        assert [e.subset for e in examples] == [f for f in folders for _ in range(2)]
        assert len({e.file_name for e in examples}) == len(examples)


def test_example_is_what_was_written(tmp_path):
    landmarks = make_face(tmp_path / "lfpw" / "testset", "face", seed=5)
    (example,) = ibug_300w.load_samples(tmp_path, "lfpw_test")
    picture = Image.open(tmp_path / "lfpw/testset/face.png")
    np.testing.assert_array_equal(example.image, np.asarray(picture))
    np.testing.assert_allclose(example.landmarks, landmarks, atol=2e-6)
    assert example.landmarks.dtype == example.box.dtype == np.float32
    np.testing.assert_array_equal(example.visibility, np.full(68, 2))
    x, y = landmarks[:, 0], landmarks[:, 1]
    np.testing.assert_allclose(example.box, [x.min(), y.min(), x.max(), y.max()], atol=2e-6)
    assert example.file_name == "lfpw/testset/face.png"
    assert example.subset == "lfpw/testset"


def test_partial_copy_keeps_published_splits_whole(tmp_path, caplog):
    for folder in ("afw", "lfpw/trainset", "lfpw/testset", "Test/01_Indoor"):
        make_face(tmp_path / folder, "face")
    survey = ibug_300w.survey(tmp_path)
    assert survey.found == {"train": 2, "lfpw_test": 1}
    assert survey.missing == (
        *("helen/trainset (2000 faces)", "helen/testset (330 faces)", "ibug (135 faces)"),
        "Test/02_Outdoor (300 faces)",
    )
    with caplog.at_level(logging.WARNING):
        assert len(ibug_300w.find_samples(tmp_path, "train")) == 2
    assert "'train' without helen/trainset" in caplog.text
    with pytest.raises(FaceAlignError, match="'common' needs helen/testset, which is not there"):
        ibug_300w.find_samples(tmp_path, "common")
    with pytest.raises(FaceAlignError, match=r"'test' needs Test/02_Outdoor"):
        ibug_300w.load_samples(tmp_path, "test")


def test_wrong_split_or_folder(tmp_path):
    make_face(tmp_path / "ibug", "face")
    with pytest.raises(FaceAlignError, match="no split 'val'; choose one of train, helen_test"):
        ibug_300w.find_samples(tmp_path, "val")
    with pytest.raises(FaceAlignError, match="'train' needs afw"):
        ibug_300w.find_samples(tmp_path, "train")
    with pytest.raises(FaceAlignError, match="there is no such folder"):
        ibug_300w.find_samples(tmp_path / "gone", "test")


def break_image_empty(folder):
    (folder / "bad.png").write_bytes(b"")


def break_image_truncated(folder):
    content = (folder / "bad.png").read_bytes()
    (folder / "bad.png").write_bytes(content[: len(content) // 2])


def break_image_missing(folder):
    (folder / "bad.png").unlink()


def break_labels_missing(folder):
    (folder / "bad.pts").unlink()


def break_labels_none(folder):
    (folder / "bad.pts").write_text("version: 1\nn_points: 0\n{\n}\n")


def break_labels_count(folder):
    write_pts(folder / "bad.pts", np.ones((51, 2)))


def break_labels_nan(folder):
    (folder / "bad.pts").write_text((folder / "bad.pts").read_text().replace("}", "nan 1\n}"))


def break_labels_one_place(folder):
    write_pts(folder / "bad.pts", np.ones((68, 2)))


def break_labels_elsewhere(folder):
    write_pts(folder / "bad.pts", np.random.default_rng(0).uniform(500, 600, (68, 2)))


BREAKAGES = {
    break_image_empty: "bad.png: the file is empty",
    break_image_truncated: "bad.png: the image data is damaged",
    break_image_missing: "bad.pts: there is no image of this name",
    break_labels_missing: "bad.png: there is no .pts file of this name",
    break_labels_none: "bad.pts: holds no landmarks",
    break_labels_count: "bad.pts: holds 51 landmarks where there must be 68",
    break_labels_nan: "bad.pts: line 72 has nan",
    break_labels_one_place: "bad.pts: the landmarks' box [1.0, 1.0, 1.0, 1.0] has no area",
    break_labels_elsewhere: "lies outside the 30x40 image",
}


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda f: f.__name__)
def test_one_broken_sample_is_named_and_counted(tmp_path, caplog, breakage):
    folder = tmp_path / "afw"
    for seed, stem in enumerate(("a", "bad", "c")):
        make_face(folder, stem, seed)
    breakage(folder)
    skipped = []
    examples = list(ibug_300w.load_samples(tmp_path, "train", on_skip=skipped.append))
    with caplog.at_level(logging.WARNING):
        assert len(list(ibug_300w.load_samples(tmp_path, "train"))) == 2
    assert [e.file_name for e in examples] == ["afw/a.png", "afw/c.png"]
    assert len(skipped) == 1 and BREAKAGES[breakage] in str(skipped[0])
    assert str(folder / "bad") in str(skipped[0])
    assert BREAKAGES[breakage] in caplog.text
    assert "Skipped 1 of 3 samples" in caplog.text
    with pytest.raises(FaceAlignError) as caught:
        list(ibug_300w.load_samples(tmp_path, "train", strict=True))
    assert BREAKAGES[breakage] in str(caught.value)


def test_a_split_of_broken_samples_alone_is_an_error(tmp_path):
    make_face(tmp_path / "afw", "bad")
    break_image_empty(tmp_path / "afw")
    with pytest.raises(FaceAlignError, match="None of the 1 samples can be used"):
        list(ibug_300w.load_samples(tmp_path, "train"))


def test_readers_do_not_import_tensorflow():
    code = (
        "import sys; from keras_facealign.data import ibug_300w, merl_rav; "
        "sys.exit('tensorflow' in sys.modules or 'tensorflow_datasets' in sys.modules)"
    )
    environment = {**os.environ, "KERAS_BACKEND": "numpy"}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )


def test_real_300w():
    root = real_copy("300w")
    for split in ibug_300w.survey(root).found:
        skipped = []
        examples = ibug_300w.load_samples(root, split, on_skip=skipped.append)
        inside = []
        for example in examples:
            height, width = example.image.shape[:2]
            limits = np.array([width, height]) - 0.5
            inside.append(((example.landmarks > -0.5) & (example.landmarks < limits)).mean())
        assert not skipped
        assert np.mean(inside) > 0.99
