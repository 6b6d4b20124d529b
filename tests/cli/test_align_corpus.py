"""`keras-facealign align-corpus` from the command line to the files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from keras_facealign.cli import main
from tests.corpus.samples import photos, rows, write_folder, write_parquet, write_tar
from tests.paths import ROOT

pytest.importorskip("pyarrow")


def test_a_corpus_is_done_once(tmp_path, capsys):
    source = write_folder(tmp_path / "in", photos(6, text=b"no photo"))
    words = ["align-corpus", str(source), "--output", str(tmp_path / "out")]
    words += ["--workers", "2", "--photos-per-shard", "4", "--overlay-every", "1"]
    assert main(words) == 0
    captured = capsys.readouterr()
    assert "6 photos aligned" in captured.out
    failed = captured.err.strip().splitlines()
    assert failed[0].startswith("1 photo failed; see ")
    assert failed[1].startswith("  000000: p000_text.jpg: ")
    found = rows(tmp_path / "out")
    assert [row["key"] for row in found] == [f"p{i:03d}.jpg" for i in range(6)]
    assert all(row["width"] == row["height"] == 110 for row in found)
    drawn = [row["overlay"] for row in found if row["faces"]]
    assert drawn and all((tmp_path / "out" / name).is_file() for name in drawn)
    assert main(words) == 0
    assert "2 of 2 shards were done before" in capsys.readouterr().out
    assert main([*words, "--strict"]) == 2
    capsys.readouterr()
    assert main([*words, "--preset", "sat2_cab_small"]) == 2
    assert "choose another folder" in capsys.readouterr().err


def test_all_bad_is_exit_code_2(tmp_path, capsys):
    source = write_tar(tmp_path / "a.tar", {"a.jpg": b"x", "b.jpg": b""})
    assert main(["align-corpus", str(source), "-o", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert "0 photos aligned" in captured.out and "2 photos failed" in captured.err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["missing.tar"], "missing.tar: cannot be opened"),
        (["a.parquet"], "has no column 'image', but jpg; choose with --column"),
        (["a.parquet", "--column", "jpg", "--preset", "no_such"], "Unknown preset 'no_such'"),
    ],
)
def test_unusable_input_is_one_line(words, reason, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_parquet(tmp_path / "a.parquet", {"jpg": [b"x"]})
    assert main(["align-corpus", *words, "-o", "out"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert reason in line


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    source = write_tar(tmp_path / "a.tar", photos(1))
    write_folder(tmp_path / "out" / "faces", {"a.tar.parquet": b"x"})
    (tmp_path / "b.parquet").write_bytes(b"x")
    assert main(["align-corpus", str(tmp_path / "b.parquet"), "-o", str(tmp_path / "o2")]) == 2
    assert 'pip install "keras_facealign[corpus]"' in capsys.readouterr().err
    assert main(["align-corpus", str(source), "-o", str(tmp_path / "o3")]) == 2
    assert 'pip install "keras_facealign[corpus]"' in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_keeps_whole_shards(tmp_path):
    source = write_folder(tmp_path / "in", photos(60))
    words = ["align-corpus", str(source), "-o", str(tmp_path / "out"), "--photos-per-shard", "4"]
    command = [sys.executable, "-m", "keras_facealign", *words, "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # In a group of its own, which gets the signal as from a terminal.
    process = subprocess.Popen(
        command, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob("faces/0*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "interrupted" in error and "of 15 shards whole" in error
    assert "Traceback" not in error
    names = sorted(path.name for path in (tmp_path / "out" / "faces").iterdir())
    assert names and not [name for name in names if name.startswith(".")]
    assert len(rows(tmp_path / "out")) == 4 * len(names)
