"""Reading own labels for the commands: schemes that fit, boxes, the part that is held out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from keras_facealign.cli.own_labels import (
    examples,
    find_scheme,
    hold_out,
    is_own,
    load_labels,
    refuse_reading,
    scheme_for,
)
from keras_facealign.data.pts import write_pts
from keras_facealign.errors import FaceAlignError
from keras_facealign.landmarks import FIVE, scheme_from_dict, write_scheme
from tests.cli.test_scheme import NAMES, write_labels
from tests.data.readers.drawn_faces import make_face
from tests.paths import ROOT


@pytest.fixture
def labels(tmp_path):
    return load_labels([write_labels(tmp_path, count=10)])[0]


def test_what_is_own(tmp_path):
    assert is_own(write_labels(tmp_path)) and is_own(tmp_path)
    assert is_own(tmp_path / "missing.json")
    assert not is_own(ROOT / "tfds_builders" / "ibug_300w" / "dummy_data")
    assert not is_own(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    assert not is_own(tmp_path / "empty")
    make_face(tmp_path / "official" / "afw", "a")  # as 300W has it
    assert not is_own(tmp_path / "official")
    write_pts(tmp_path / "mine" / "a.pts", make_face(tmp_path / "mine", "a")[:5])
    assert is_own(tmp_path / "mine")


def test_schemes(labels, tmp_path):
    guessed = scheme_for(labels, None)
    assert guessed.names == tuple(NAMES) and not guessed.has_flip_pairs
    given = scheme_from_dict({"name": "mine", "num_landmarks": 6, "flip_pairs": [[1, 2]]})
    assert scheme_for(labels, given) is given
    with pytest.raises(FaceAlignError, match="'five' has 5 landmarks, but .*has 6"):
        scheme_for(labels, FIVE)
    other = scheme_from_dict({"name": "mine", "names": [*NAMES[:4], "chin", "ear"]})
    with pytest.raises(FaceAlignError, match="Landmark 4 is 'chin' in scheme 'mine', but 'mouth_a"):
        scheme_for(labels, other)
    assert find_scheme(None) is None and find_scheme("five") is FIVE
    assert find_scheme(str(write_scheme(given, tmp_path / "a.json"))) == given


def test_boxes_are_those_of_the_scheme(labels):
    scheme = scheme_from_dict({"num_landmarks": 6, "name": "m", "face_box": [-1, -1, 2, 2]})
    skipped: list[str] = []
    for face in examples(labels, scheme, skipped):
        low, high = face.landmarks.min(axis=0), face.landmarks.max(axis=0)
        assert face.box == pytest.approx([*(2 * low - high), *(2 * high - low)], abs=1e-3)
    assert skipped == []


def test_hold_out_keeps_persons_together(labels, tmp_path, capsys):
    train, held = hold_out(labels)
    assert len(train) == 8 and len(held) == 2
    assert "Holding 2 faces of 10 out, by picture" in capsys.readouterr().out
    content = json.loads((tmp_path / "labels.json").read_text())
    for index, image in enumerate(content["images"]):
        image["person_id"] = index // 5
    (tmp_path / "labels.json").write_text(json.dumps(content))
    train, held = hold_out(load_labels([tmp_path / "labels.json"])[0])
    assert len({face.group for face in held.faces}) == 1 and len(held) == 5
    for image in content["images"]:
        image["person_id"] = 1
    (tmp_path / "labels.json").write_text(json.dumps(content))
    with pytest.raises(FaceAlignError, match="all faces are of one group.*give --validation"):
        hold_out(load_labels([tmp_path / "labels.json"])[0])


def test_sets_that_do_not_fit_each_other(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first = write_labels(tmp_path / "a")
    second = write_labels(tmp_path / "b", names=[*NAMES[:5], "other"])
    with pytest.raises(FaceAlignError, match="has other names of landmarks"):
        load_labels([first, second])
    assert np.array_equal(*(load_labels([first, first])[k].faces[0].landmarks for k in (0, 1)))


def test_options_of_the_format(tmp_path):
    path = tmp_path / "points.csv"
    write_labels(tmp_path, 3)
    rows = [f"{i}.png,10,20,30,20,20,40" for i in range(3)]
    path.write_text("\n".join(["file_name,x0,y0,x1,y1,x2,y2", *rows]))
    (zero,) = load_labels([path], {"kind": "csv", "one_based": False})
    (one,) = load_labels([path], {"kind": "csv", "one_based": True})
    assert zero.faces[0].landmarks - one.faces[0].landmarks == pytest.approx(1)
    refuse_reading({"kind": None, "one_based": None})
    with pytest.raises(FaceAlignError, match="--one-based is for labels of your own"):
        refuse_reading({"kind": None, "one_based": False})
