"""Names of files in CSV files: no formulas, and the same names when they are read back."""

from __future__ import annotations

import csv
import io

import pytest

from keras_facealign.storage.file_names import escape_cell, plot_text, unescape_cell

NAMES = [
    "=1+1.jpg",
    "+a.jpg",
    "-a.jpg",
    "@SUM(A1).jpg",
    "\t=1.jpg",
    "\r=1.jpg",
    "\n=1.jpg",
    "＝1.jpg",
    "'=1.jpg",
    "''-1.jpg",
    "'tis.jpg",
    "a-b=c.jpg",
    'a,"b".jpg',
    "two\r\nlines.jpg",
    "b\udcff\udc80.jpg",
    "后🙂.jpg",
    "",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_is_no_formula_and_gives_the_name_back(name):
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerow([escape_cell(name), "next"])
    text = stream.getvalue().encode("utf-8").decode("utf-8")
    (cells,) = csv.reader(io.StringIO(text, newline=""))
    assert not cells[0].startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝"))
    assert [unescape_cell(cells[0]), cells[1]] == [name, "next"]


def test_only_formulas_and_undecodable_names_change():
    unchanged = [name for name in NAMES if escape_cell(name) == name]
    assert unchanged == ["'tis.jpg", "a-b=c.jpg", 'a,"b".jpg', "后🙂.jpg", ""]
    assert escape_cell("=1+1.jpg") == "'=1+1.jpg"
    assert escape_cell("b\udcff.jpg") == r"b\udcff.jpg"


def test_plots_show_names_as_they_are():
    assert plot_text("a$x^{$\n\udcff") == r"a\$x^{\$\n\udcff"


def test_cells_of_other_writers_are_left_as_they_are():
    for cell in ("'tis.jpg", "=1.jpg", "-1", "a'=b", r"C:\users\dc"):
        assert unescape_cell(cell) == cell
