"""Protocols on drawn data in the official layouts: golden results, and missing pictures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.recognition import (
    VERIFICATION_MODES,
    Embedder,
    FaceNormalizer,
    PictureEmbeddings,
    get_verification_protocol,
    verify,
)
from tests.recognition.drawn import aligner, draw_cfp, draw_person, mean_color

FP = get_verification_protocol("cfp_fp")


@pytest.fixture(scope="module")
def cfp(tmp_path_factory):
    return draw_cfp(tmp_path_factory.mktemp("cfp"))


def embeddings(modes=("arcface",), embedder=None, confidence=0.9) -> PictureEmbeddings:
    normalizer = FaceNormalizer(aligner(confidence), image_size=32)
    return PictureEmbeddings(normalizer, embedder or mean_color(), modes)


def test_a_network_that_sees_the_color_is_perfect(cfp):
    seen = []
    report = verify(FP, cfp, embeddings(VERIFICATION_MODES), lambda: seen.append(1))
    assert FP.count(cfp) == len(seen) == len(report.pairs) == 40
    for mode in VERIFICATION_MODES:
        found = report.measures[mode]
        assert (found["accuracy"], found["deviation"], found["auc"]) == (100, 0, 100), mode
    assert np.bincount(report.folds).tolist() == [4] * 10
    assert report.shared_persons == [] and not report.excluded and not report.notes
    assert report.pairs[0] == ("Data/Images/001/frontal/01.png", "Data/Images/001/profile/02.png")
    assert report.persons[2] == ("001", "002") and not report.same[2]
    assert report.published["68 points, 3D"] == 98.51


def test_a_network_that_sees_nothing_is_as_good_as_chance(cfp):
    rng = np.random.default_rng(0)
    blind = Embedder(lambda x: {"v": rng.normal(size=(len(x), 64))}, 32, "blind")
    report = verify(FP, cfp, embeddings(embedder=blind))
    assert abs(report.measures["arcface"]["auc"] - 50) < 4 * 100 / np.sqrt(12 * 10)


def test_each_picture_is_embedded_once(cfp):
    counts = []

    def run(x):
        counts.append(len(x))
        return {"v": np.ones((len(x), 2))}

    once = embeddings(embedder=Embedder(run, 32, "ones"))
    for protocol in ("cfp_ff", "cfp_fp"):
        verify(get_verification_protocol(protocol), cfp, once)
    # Every frontal picture, and the two profiles of each person that pairs name.
    assert sum(counts) == len(once) == 20 * 3 + 20 * 2


def test_lfw_in_its_layout(tmp_path):
    for person in range(8):
        for k in (1, 2):
            name = f"lfw/P{person}/P{person}_{k:04d}.jpg"
            draw_person(tmp_path / name, 7 * (person % 2), seed=10 * person + k)
    lines = ["2\t2"]
    for first in (0, 4):
        lines += [f"P{first}\t1\t2", f"P{first + 1}\t1\t2"]
        lines += [f"P{first}\t1\tP{first + 1}\t2", f"P{first + 2}\t1\tP{first + 3}\t1"]
    (tmp_path / "pairs.txt").write_text("\n".join(lines) + "\n")
    lfw = get_verification_protocol("lfw")
    report = verify(lfw, tmp_path, embeddings())
    assert lfw.count(tmp_path) == len(report.pairs) == 8
    assert report.measures["arcface"]["accuracy_by_fold"] == [100, 100]
    assert report.persons[2] == ("P0", "P1") and report.shared_persons == []
    # A person of one picture, of whom the list wants a second: the pair is counted, not replaced.
    (tmp_path / "lfw/P0/P0_0002.jpg").unlink()
    report = verify(lfw, tmp_path, embeddings())
    assert len(report.pairs) == 7 and len(report.excluded) == 1
    assert "P0_0002.jpg: cannot be opened" in report.excluded[0]
    assert report.remarks()[0].startswith("1 pairs left out: ")


def test_pictures_without_a_face_or_with_a_doubtful_one_count_and_are_noted(tmp_path):
    root = draw_cfp(tmp_path)
    path = root / "Data/Images/003/frontal/01.png"
    draw_person(path, 0, seed=1, size=(50, 50))  # in which the detector finds nothing
    both = embeddings(("picture", "box"))
    report = verify(FP, root, both)
    assert len(report.pairs) == 40 and report.measures["box"]["accuracy"] == 100
    name = path.relative_to(root).as_posix()
    assert report.notes == {name: "no face found, so the whole picture"}
    np.testing.assert_array_equal(both.vector(name, "box"), both.vector(name, "picture"))
    doubtful = verify(FP, root, embeddings(confidence=0.1))
    assert "marked as not reliable" in next(iter(doubtful.notes.values()))
    assert [line.split(" ")[0] for line in doubtful.remarks()] == ["1", "59"]


def test_pairs_need_no_fiducials(tmp_path):
    # CFP without the files of the first persons, as some copies are.
    root = draw_cfp(tmp_path)
    for person in range(11, 21):
        for kind in ("frontal", "profile"):
            for k in (1, 2, 3):
                path = root / f"Data/Fiducials/{person:03d}/{kind}/{k:02d}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("1,2\n3,4\n")
    report = verify(FP, root, embeddings())
    assert len(report.pairs) == 40 and not report.excluded
    assert np.bincount(report.folds).tolist() == [4] * 10


def test_damaged_pictures_are_counted(tmp_path):
    root = draw_cfp(tmp_path)
    (root / "Data/Images/001/frontal/01.png").write_bytes(b"no picture")
    report = verify(FP, root, embeddings())
    assert len(report.pairs) == 38
    assert [line.partition(":")[0][-14:] for line in report.excluded] == ["frontal/01.png"] * 2
    with pytest.raises(FaceAlignError, match="is not there; missing: Data/Images"):
        FP.count(tmp_path / "Data")


def test_embeddings_are_kept_for_the_same_settings(cfp, tmp_path):
    first = embeddings(("box", "pose3d"), confidence=0.1)
    expected = verify(FP, cfp, first)
    first.save(tmp_path / "kept.npz", "settings")

    def fail(x):
        raise AssertionError("embedded again")

    again = embeddings(("box", "pose3d"), Embedder(fail, 32, "none"))
    assert not again.load(tmp_path / "kept.npz", "other settings") and not len(again)
    assert again.load(tmp_path / "kept.npz", "settings") and len(again) == len(first)
    report = verify(FP, cfp, again)
    assert report.summary() == expected.summary()
    (tmp_path / "kept.npz").write_bytes(b"PK")
    with pytest.raises(FaceAlignError, match=r"kept\.npz"):
        again.load(tmp_path / "kept.npz", "settings")
    np.savez(tmp_path / "kept.npz", settings=["s"], names=["a"], notes=[""], vectors=[[[np.nan]]])
    with pytest.raises(FaceAlignError, match="do not fit each other"):
        again.load(tmp_path / "kept.npz", "s")


def test_wrong_choices():
    with pytest.raises(FaceAlignError, match="Unknown protocol 'cfp'"):
        get_verification_protocol("cfp")
    with pytest.raises(FaceAlignError, match="Unknown mode 'all'"):
        embeddings(("all",))
    with pytest.raises(FaceAlignError, match="takes crops of 64 pixels"):
        embeddings(embedder=mean_color(64))
    nan = Embedder(lambda x: {"v": np.full((len(x), 2), np.nan)}, 32, "network.onnx")
    subject = embeddings(embedder=nan)
    subject.add("a.jpg", np.zeros((48, 56, 3), np.uint8))
    with pytest.raises(FaceAlignError, match=r"network\.onnx: the vector of a\.jpg is not finite"):
        subject.vector("a.jpg", "arcface")


def test_the_official_folds_share_no_person():
    data = Path(os.environ.get("KERAS_FACEALIGN_DATA", "none")) / "cfp"
    if not data.is_dir():
        pytest.skip("needs CFP")
    for path in sorted((data / "Protocol").glob("Pair_list_*.txt"))[:1]:
        files = dict(line.split() for line in path.read_text().splitlines() if line)
        homes: dict[str, int] = {}
        for fold in range(10):
            for name in ("same", "diff"):
                lines = data / f"Protocol/Split/FF/{fold + 1:02d}/{name}.txt"
                for index in lines.read_text().replace(",", " ").split():
                    person = FP.person(files[index])
                    assert homes.setdefault(person, fold) == fold
