"""Skipping what cannot be used."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from keras_facealign.data.valid_items import iter_valid, reader
from keras_facealign.errors import FaceAlignError


def test_items_passed_over_are_reported(caplog):
    def read(item: int) -> int:
        if item % 2:
            raise FaceAlignError(f"{item}: is odd")
        return item

    skipped: list[FaceAlignError] = []
    assert list(iter_valid(range(5), read, on_skip=skipped.append)) == [0, 2, 4]
    assert [str(error) for error in skipped] == ["1: is odd", "3: is odd"]
    assert not caplog.text
    assert list(iter_valid(range(5), read)) == [0, 2, 4]
    assert "Skipped: 1: is odd" in caplog.text
    assert "Skipped 2 of 5 samples" in caplog.text
    with pytest.raises(FaceAlignError, match="1: is odd"):
        list(iter_valid(range(5), read, strict=True))
    with pytest.raises(FaceAlignError, match="None of the 2 samples can be used"):
        list(iter_valid([1, 3], read))
    assert list(iter_valid([], read)) == []


def test_a_reader_has_the_keywords_of_iter_valid(tmp_path):
    @reader
    def load(root: Path, name: str) -> Any:
        """Reads numbers."""

        def read(text: str) -> int:
            if not text.isdigit():
                raise FaceAlignError(f"{text}: is not a number")
            return int(text)

        return (root / name).read_text().split(), read

    (tmp_path / "numbers").write_text("1 x 3")
    skipped: list[FaceAlignError] = []
    assert list(load(str(tmp_path), "numbers", on_skip=skipped.append)) == [1, 3]
    assert [str(error) for error in skipped] == ["x: is not a number"]
    with pytest.raises(FaceAlignError, match="x: is not a number"):
        list(load(tmp_path, name="numbers", strict=True))
    assert load.__doc__ == "Reads numbers."
    assert list(inspect.signature(load).parameters) == ["root", "name", "strict", "on_skip"]
