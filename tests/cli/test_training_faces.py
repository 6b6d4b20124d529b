"""What `train` trains on: own labels with a part held out, or splits of known data sets."""

from __future__ import annotations

import pytest

from keras_facealign.cli.training_faces import open_faces
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import IBUG68
from tests.cli.test_scheme import write_labels
from tests.paths import ROOT

IBUG = ROOT / "tfds_builders" / "ibug_300w" / "dummy_data"


def test_own_labels_are_divided(tmp_path):
    faces = open_faces([write_labels(tmp_path, 10)], None, None, None, None, [])
    train, held = list(faces.train(32)), list(faces.held_out(32))
    assert (len(train), len(held)) == (8, 2) and faces.validates
    assert not {face.file_name for face in train} & {face.file_name for face in held}
    assert faces.scheme.num_landmarks == 6 and faces.title == "labels.json (8 faces)"
    # A sample stays among the faces.
    assert len(faces.sample(3)) == 3 and len(list(faces.train(32))) == 8


def test_validation_of_own_labels(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, second = (write_labels(tmp_path / name, 4) for name in ("a", "b"))
    faces = open_faces([first], None, None, str(second), None, [])
    assert len(list(faces.train(32))) == len(list(faces.held_out(32))) == 4
    faces = open_faces([first], None, None, "none", None, [])
    assert faces.held_out(32) is None and not faces.validates


def test_known_data_sets_have_splits():
    faces = open_faces([IBUG], None, None, None, None, [])
    assert faces.scheme is IBUG68 and faces.title == "ibug_300w train"
    sample = faces.sample(2)
    train = list(faces.train(32))
    assert [face.file_name for face in train[:2]] == [face.file_name for face in sample]
    assert len(list(faces.held_out(32))) == 2


@pytest.mark.parametrize("own", [True, False])
def test_faces_that_are_trained_and_validated_on_are_counted(own, tmp_path, capsys):
    if own:
        labels = write_labels(tmp_path, 4)
        faces = open_faces([labels], None, None, str(labels), None, [])
    else:
        faces = open_faces([IBUG], None, ["full"], "challenge", None, [])
    count, held = len(list(faces.train(32))), faces.held_out(32)
    assert next(held).landmarks.any() and not capsys.readouterr().err
    rest = len(list(held)) + 1
    assert rest == count if own else rest < count
    assert f"{rest} of {rest} face" in (said := capsys.readouterr().err)
    assert "trained on too" in said and said.count("\n") == 1
    apart = open_faces([IBUG], None, ["train"], "lfpw_test", None, [])
    assert len(list(apart.train(32))) > len(list(apart.held_out(32))) > 0
    assert not capsys.readouterr().err


def test_wrong_schemes(tmp_path):
    labels = write_labels(tmp_path)
    with pytest.raises(FaceAlignError, match="'five' has 5 landmarks, but .*labels.json has 6"):
        open_faces([labels], None, None, None, "five", [])
    with pytest.raises(FaceAlignError, match="'five' has 5 landmarks, but .* has 68"):
        open_faces([IBUG], None, None, None, "five", [])
    with pytest.raises(FaceAlignError, match="missing.yaml"):
        open_faces([labels], None, None, None, str(tmp_path / "missing.yaml"), [])
