"""What a folder holds of each data set, and reading it by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from keras_facealign.data.catalog import CATALOG, LOADERS, find, load
from keras_facealign.data.readers.menpo2d import load_samples as load_menpo2d
from keras_facealign.errors import FaceAlignError
from tests.paths import ROOT

BUILDERS = ROOT / "tfds_builders"
BY_NAME = {data_set.name: data_set for data_set in CATALOG}

# Samples in the drawn copies, counted by hand.
DRAWN = {
    "ibug_300w": {
        "train": 6,
        "helen_test": 1,
        "lfpw_test": 2,
        "common": 3,
        "challenge": 1,
        "full": 4,
        "test": 2,
    },
    "menpo2d/semi_frontal": {"train": 2, "test": 1},
    "menpo2d/profile": {"train": 2, "test": 1},
    "cofw": {"train": 3, "test": 2},
    "cofw68": {"test": 3},
    "w300_lp": {"train": 3, "flip": 1},
    "aflw2000_3d": {"test": 3},
    "wflw": {
        "train": 3,
        "test": 3,
        "test_largepose": 1,
        "test_expression": 1,
        "test_illumination": 1,
        "test_makeup": 1,
        "test_occlusion": 1,
        "test_blur": 1,
    },
    "merl_rav": {"train": 5, "test": 5},
    "face_synthetics": {"train": 3},
    "lfw_pairs": {"test": 8, "dev_train": 2, "dev_test": 2},
    "cfp": {"ff": 20, "fp": 20},
}


def drawn_copy(name: str) -> Path:
    return BUILDERS / name.partition("/")[0] / "dummy_data"


def test_every_builder_is_in_the_catalog():
    builders = {path.parent.name for path in BUILDERS.glob("*/*_dataset_builder.py")}
    assert {name.partition("/")[0] for name in BY_NAME} == builders
    assert len(builders) == 11


def test_published_counts():
    total = {name: sum(data_set.published.values()) for name, data_set in BY_NAME.items()}
    assert BY_NAME["ibug_300w"].published["train"] == 337 + 2000 + 811
    assert BY_NAME["ibug_300w"].published["full"] == 554 + 135
    assert total["menpo2d/semi_frontal"] == 6653 + 5335
    assert total["menpo2d/profile"] == 2290 + 1946
    assert total["cofw"] == 1345 + 507 and total["cofw68"] == 507
    assert BY_NAME["w300_lp"].published["train"] == 61225
    assert total["merl_rav"] == 19314
    wflw = BY_NAME["wflw"].published
    assert wflw["train"] + wflw["test"] == 10000


@pytest.mark.parametrize("name", BY_NAME)
def test_samples_are_counted(name, tmp_path):
    data_set = BY_NAME[name]
    # Menpo2D's files are like other sets', so that its folder is known by its name alone.
    shutil.copytree(drawn_copy(name), tmp_path / "downloads" / "menpo-or-other")
    (tmp_path / "downloads" / "empty").mkdir()
    place, survey = find(data_set, tmp_path / "downloads")
    if not name.startswith("menpo2d"):
        assert place == tmp_path / "downloads" / "menpo-or-other"
    assert survey.found == DRAWN[name]
    if name != "w300_lp":  # two of its folders are drawn
        assert survey.missing == ()


@pytest.mark.parametrize("name", BY_NAME)
def test_other_sets_are_not_taken_for_it(name):
    for other in {other.partition("/")[0] for other in BY_NAME} - {name.partition("/")[0]}:
        if (name, other) == ("cofw", "cofw68"):
            continue  # COFW68 comes with COFW's test file
        _, survey = find(BY_NAME[name], drawn_copy(other))
        assert not survey.found, other
        assert survey.missing


def test_folders_of_other_sets_are_left_out(tmp_path):
    """Menpo2D's files have no names of their own; what its folders are called tells them."""
    copies = {"menpo2d/semi_frontal": "Menpo2D", "ibug_300w": "300w"}
    for name, folder in copies.items():
        shutil.copytree(drawn_copy(name), tmp_path / folder)
    place, survey = find(BY_NAME["menpo2d/semi_frontal"], tmp_path)
    assert survey.found == {"train": 2, "test": 1}
    assert len(list(load_menpo2d(place, "train", strict=True))) == 2


# These are read in tests of their own.
WITHOUT_BUILDER = {"aflw_3d_crops", "cfp/landmarks", "pts_folder", "turned_faces"}


@pytest.mark.parametrize("name", sorted(LOADERS.keys() - WITHOUT_BUILDER))
def test_faces_are_loaded_by_name(name):
    # Menpo2D's kinds of faces have entries of their own; labels of other sets have not.
    entry = {"menpo2d": "menpo2d/semi_frontal"}.get(name, name)
    entry = entry if entry in DRAWN else entry.partition("/")[0]
    landmarks = 68 if name.endswith("/ibug68") else BY_NAME[entry].landmarks
    for split, count in DRAWN[entry].items():
        faces = list(load(name, drawn_copy(name), split, strict=True))
        assert len(faces) == count
        for face in faces:
            assert face.landmarks.shape == (landmarks, 2)
            assert face.visibility.shape == (landmarks,)


def test_loading_an_unknown_set_or_a_broken_face(tmp_path):
    with pytest.raises(FaceAlignError, match="no data set 'wflw98'; choose one of aflw2000_3d"):
        load("wflw98", tmp_path, "train")
    copy = tmp_path / "copy"
    shutil.copytree(drawn_copy("face_synthetics"), copy)
    (copy / "000001.png").unlink()
    skipped: list[FaceAlignError] = []
    assert len(list(load("face_synthetics", copy, "train", on_skip=skipped.append))) == 2
    assert "000001.png: cannot be opened" in str(skipped[0])


def test_what_is_missing_is_named(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(drawn_copy("cofw68"), copy)
    (copy / "COFW_test_color.mat").unlink()
    survey = BY_NAME["cofw68"].survey(copy)
    assert survey.found == {}
    assert survey.missing == ("COFW_test_color.mat (the 507 images)",)

    shutil.rmtree(copy)
    shutil.copytree(drawn_copy("w300_lp"), copy)
    shutil.rmtree(copy / "300W_LP" / "IBUG_Flip")
    shutil.rmtree(copy / "300W_LP" / "landmarks")
    survey = BY_NAME["w300_lp"].survey(copy)
    assert survey.found == {"train": 3}
    assert "IBUG_Flip (1786 faces)" in survey.missing
    assert "landmarks (without it, only the labels pt2d)" in survey.missing
