"""`examples/table3.py` on drawn persons, with a small network in the place of MobileFaceNet."""

from __future__ import annotations

import pytest

from keras_facealign import FaceAligner
from keras_facealign.recognition import Embedder, training
from tests.paths import ROOT, load_script
from tests.recognition.drawn import aligner, draw_cfp, mean_color
from tests.recognition.test_training import small_network


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return draw_cfp(tmp_path_factory.mktemp("cfp"))


@pytest.fixture
def table3(monkeypatch):
    module = load_script(ROOT / "examples" / "table3.py")
    monkeypatch.setattr(FaceAligner, "from_preset", classmethod(lambda *args: aligner()))
    monkeypatch.setattr(training, "MobileFaceNet", small_network)
    return module


def test_networks_are_trained_once_and_measured_on_other_persons(
    table3, data, tmp_path, capsys, monkeypatch
):
    words = ["train", "--data", str(data), "--output", str(tmp_path)]
    words += ["--epochs", "1", "--size", "32", "--width", "0.06"]
    monkeypatch.setattr(table3, "TRAINED", {"box": "no alignment"})
    table3.main(words)
    assert len(list((tmp_path / "crops/box/0").iterdir())) == 10
    assert len(list((tmp_path / "crops").rglob("*.png"))) == 120
    seen = {pair.fold for pair in table3.held_out("cfp_fp", 0).load(data)}
    assert seen == {5, 6, 7, 8, 9}  # half 0 has the persons of folds 0 to 4
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert table.startswith("| normalization |") and "| no alignment |" in table
    table3.main(words)
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == table
    assert "This call trained for 0.00 hours" in capsys.readouterr().out


def test_the_fixed_network_is_measured_under_all_normalizations(
    table3, data, tmp_path, monkeypatch
):
    monkeypatch.setattr(Embedder, "from_file", classmethod(lambda *args, **kw: mean_color(112)))
    monkeypatch.setattr(table3, "VERIFICATION_MODES", ("picture", "arcface"))
    words = ["fixed", "--data", str(data), "--output", str(tmp_path), "--model", "x.tflite"]
    table3.main([*words, "--presets", "a_preset"])
    lines = (tmp_path / "table.md").read_text(encoding="utf-8").splitlines()
    assert lines[2:] == [
        f"| a_preset | {mode} | 100.00 \u00b1 0.00 | 100.00 \u00b1 0.00 |"
        for mode in ("picture", "arcface")
    ]
    (tmp_path / "wrong.tflite").write_bytes(b"another file")
    with pytest.raises(SystemExit, match="is another file than that of expo"):
        table3.fetch_network(tmp_path / "wrong.tflite")
