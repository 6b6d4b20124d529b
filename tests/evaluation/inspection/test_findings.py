"""Planted faults are found, and nothing else."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from keras_facealign.data.labels import load
from keras_facealign.errors import FaceAlignError
from keras_facealign.evaluation.inspection import KINDS, inspect_labels
from keras_facealign.landmarks import numbered_scheme
from tests.evaluation.inspection.labeled import PARTNER, shapes, write_set


def test_nothing_is_found_in_a_good_set(tmp_path):
    labels = write_set(tmp_path, shapes(40))
    seen = []
    inspection = inspect_labels(labels, on_face=lambda: seen.append(1))
    assert inspection.counts == {} and not inspection.found_any and len(seen) == 40
    assert inspection.summary() == "40 faces with 9 landmarks: nothing odd was found"


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faulty")
    faces = shapes(40)
    faces[5] = faces[5][PARTNER]
    faces[11, 6] += [25, 4]
    faces[12, [1, 7]] = faces[12, [7, 1]]
    faces[13] = faces[13][[6, 2, 7, 0, 1, 8, 3, 5, 4]]
    faces[14] += [80, 0]
    labels = write_set(folder, faces)
    (folder / "020.png").write_bytes((folder / "021.png").read_bytes())
    (folder / "030.png").write_bytes(b"broken")
    (folder / "extra.png").write_bytes((folder / "001.png").read_bytes())
    with (folder / "labels.csv").open("a") as file:
        file.write("missing.png" + ",1" * 18 + "\n")
    return load(labels.path)


def found(inspection, kind):
    return [(f.file_name, f.points) for f in inspection.findings.get(kind, [])]


def test_planted_faults_are_found(faulty):
    inspection = inspect_labels(faulty)
    assert found(inspection, "swapped") == [("005.png", ())]
    assert found(inspection, "outlier") == [("011.png", (6,))]
    assert found(inspection, "exchanged") == [("012.png", (1, 7))]
    assert found(inspection, "odd") == [("013.png", ())]
    ((name, points),) = found(inspection, "outside")
    assert name == "014.png" and 3 in points
    assert found(inspection, "duplicate") == [("020.png", ())]
    unusable = [finding.text for finding in inspection.findings["unusable"]]
    assert len(unusable) == 2 and any("030.png" in t for t in unusable)
    assert any("missing.png" in text for text in unusable)
    assert found(inspection, "unlabeled") == [("extra.png", ())]
    assert list(inspection.counts) == [kind for kind in KINDS if kind in inspection.counts]
    assert inspection.summary().startswith("40 faces with 9 landmarks: 1 faces with left and right")
    assert "(nose)" in inspection.findings["outlier"][0].text
    values = json.loads(json.dumps(inspection.to_dict()))
    assert values["counts"]["outlier"] == 1 and values["faces"] == 40
    assert {"kind": "duplicate"}.items() <= values["findings"][5].items()


class Network:
    """Finds what the labels of a good set say."""

    def __init__(self, faces):
        self.model = SimpleNamespace(scheme=numbered_scheme(9))
        self.faces, self.most = faces, 0

    def align_batch(self, images, boxes=None, names=None):
        self.most = max(self.most, len(images))
        return [[SimpleNamespace(landmarks=self.faces[int(name[:3])])] for name in names]


def test_a_network_contradicts(tmp_path):
    right = shapes(40)
    faces = right + 1.0 + np.random.default_rng(1).normal(0, 0.5, right.shape)
    faces[9, :4] += [0, 20]
    network = Network(right)
    inspection = inspect_labels(write_set(tmp_path, faces), network, "net")
    ((name, points),) = found(inspection, "contradicted")
    assert name == "009.png" and points[0] in range(4) and network.most <= 8
    assert inspection.shift is not None and inspection.shift.believable
    assert "labels shifted by +" in inspection.summary()
    with pytest.raises(FaceAlignError, match="other has 7 landmarks"):
        network.model.scheme = numbered_scheme(7)
        inspect_labels(inspection.labels, network, "other")


def test_few_faces_and_no_usable_picture(tmp_path):
    labels = write_set(tmp_path, shapes(3))
    inspection = inspect_labels(labels)
    assert inspection.model is None and not inspection.found_any
    for index in range(3):
        (tmp_path / f"{index:03d}.png").write_bytes(b"broken")
    with pytest.raises(FaceAlignError, match="no picture of the 3 faces can be used"):
        inspect_labels(labels)
