"""What kills a process, or is too much for it, is an error of one line."""

from __future__ import annotations

import os
import sys
import time

import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage import child_process
from keras_facealign.storage.child_process import check_in_child, limit_process


def behave(content: bytes, name: str, *arguments: str) -> None:
    """What the other process does, as the content says."""
    kind = content.decode()
    print("a library says something")
    if kind == "abort":
        os.abort()
    elif kind == "exit":
        os._exit(7)
    elif kind == "refuse":
        raise FaceAlignError(f"{name}: is refused\nfor {arguments[0]}")
    elif kind == "fail":
        raise KeyError("x\ny")
    elif kind == "absent":
        raise ImportError("no such library")
    elif kind == "sleep":
        time.sleep(60)
    elif kind == "memory":
        limit_process(len(content))
        bytearray(2_000_000_000)


BEHAVE = f"{__name__}.{behave.__name__}"


@pytest.mark.parametrize(
    "kind, message",
    [
        ("abort", "f.bin: is damaged, a trial in another process ended SIGABRT; replace the file"),
        ("exit", "f.bin: is damaged, a trial in another process ended with exit code 7; .*"),
        ("refuse", "f.bin: is refused for a reason"),
        ("fail", "f.bin: cannot be used .KeyError 'x.+y'.; replace the file"),
        pytest.param(
            "memory",
            "f.bin: cannot be used .MemoryError.; replace the file",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="Linux counts memory"),
        ),
    ],
)
def test_what_happens_to_the_process_is_told_in_one_line(kind, message):
    with pytest.raises(FaceAlignError, match=rf"^{message}$"):
        check_in_child(BEHAVE, kind.encode(), "f.bin", "a reason")


def test_a_process_that_waits_is_ended(monkeypatch):
    monkeypatch.setattr(child_process, "_SECONDS", 0.5)
    with pytest.raises(FaceAlignError, match=r"^f\.bin: .* ended after 0 s"):
        check_in_child(BEHAVE, b"sleep", "f.bin")


def test_good_content_is_checked_once(monkeypatch):
    check_in_child(BEHAVE, b"good", "f.bin")
    check_in_child(BEHAVE, b"absent", "f.bin")
    monkeypatch.setattr(child_process, "_outcome", lambda *_: "f.bin: is checked again")
    check_in_child(BEHAVE, b"good", "f.bin")
    with pytest.raises(FaceAlignError, match="checked again"):
        check_in_child(BEHAVE, b"other", "f.bin")
