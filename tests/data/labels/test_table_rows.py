"""Delimited text in other encodings and with other delimiters."""

from __future__ import annotations

import pytest

from keras_facealign.data.labels.table_rows import first_row, table_rows
from keras_facealign.errors import FaceAlignError
from tests.data.labels.written import write


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_rows(tmp_path, delimiter, encoding):
    text = delimiter.join(["ä", "b", " c "]) + '\r\n\r\n"x\ny"' + delimiter + "1" + delimiter
    path = write(tmp_path, "a.csv", text, encoding)
    assert list(table_rows(path)) == [(1, ["ä", "b", "c"]), (4, ["x\ny", "1", ""])]
    assert first_row(path) == ["ä", "b", "c"]


def test_what_is_no_text(tmp_path):
    for name, content in (("empty", b""), ("zeros", b"a,\0\0"), ("half", b"\xff\xfea\0,\0b")):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(FaceAlignError, match=name):
            list(table_rows(path))


def test_cells_without_end(tmp_path):
    path = write(tmp_path, "a.csv", "a,b\n" + "x" * 200_000)
    with pytest.raises(FaceAlignError, match="line 2 cannot be read"):
        list(table_rows(path))
