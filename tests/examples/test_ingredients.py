"""How the comparison of training faces joins packed files."""

from __future__ import annotations

import numpy as np
import pytest

from keras_facealign.data.packed import PackedFaces, pack
from tests.paths import ROOT
from tests.training.test_run import examples


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples")
    import ingredients

    return ingredients


@pytest.fixture
def files(tmp_path):
    paths = [str(tmp_path / f"{name}.faces.npz") for name in "ab"]
    for seed, (path, count) in enumerate(zip(paths, (3, 4), strict=True)):
        pack(examples(count, seed), path, 90, 48, 32)
    return paths


def test_every_face_of_all_files_comes_once_an_epoch_with_its_landmarks(script, files):
    wanted = [
        (image.tobytes(), points.tobytes())
        for path in files
        for image, points in zip(PackedFaces(path).images, PackedFaces(path).landmarks, strict=True)
    ]
    joined = script.JoinedFaces(files, 1, shuffle=True, seed=3)
    found = [
        (batch["image"][0].tobytes(), batch["landmarks"][0].tobytes())
        for batch in (joined[i] for i in range(len(joined)))
    ]
    assert sorted(found) == sorted(wanted) and found != wanted
    assert len(joined.file_names) == len(wanted) == 7


def test_an_epoch_takes_no_more_steps_than_given(script, files):
    assert len(script.JoinedFaces(files, 2, shuffle=True)) == 3
    joined = script.JoinedFaces(files, 2, shuffle=True, steps=2)
    assert len(joined) == 2
    seen = set()
    for _ in range(6):
        seen.update(image.tobytes() for i in range(2) for image in joined[i]["image"])
        joined.on_epoch_end()
    assert len(seen) == 7


def test_files_of_other_sizes_are_refused(script, files):
    pack(examples(2), files[1], 90, 40, 32)
    with pytest.raises(SystemExit, match="b.faces.npz is packed for another size than"):
        script.JoinedFaces(files)


def test_one_file_is_read_as_before(script, files):
    joined, alone = script.JoinedFaces(files[:1], 2), PackedFaces(files[0], 2)
    np.testing.assert_array_equal(joined.images, alone.images)
    assert len(joined) == len(alone)
