"""What cards say of unchecked data is sound Markdown that shows it as it is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_facealign.evaluation.cards.markdown import block, code, escape, section, table
from tests.evaluation.cards.markdown import RENDERER, cells, shown


@pytest.mark.parametrize(
    "text",
    [
        "a*b*c _d_ __e__ f_g",
        "<script>alert(1)</script> <!-- x -->",
        "[a](http://b) ![c](d) | `e` | ~~f~~",
        "&lt; & &#35; \\* \\",
        "# no heading",
        "- no list",
        "1. no list",
        "2) no list",
        "> no quote",
        "--- ===",
        "$x$",
    ],
)
def test_escaped_text_is_shown_as_it_is(text):
    page = RENDERER.render(escape(text))
    assert shown(escape(text)) == text
    assert set(re.findall(r"</?\w+", page)) == {"<p", "</p"}
    assert cells(table([(escape(text), code(text, in_table=True))]))[1:] == [[text, text]]


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab 1.)-+=#>|*_`~[]()!<&;\\\"'\n\t:", max_size=24))
def test_any_text_is_shown_as_it_is(text):
    line = " ".join(text.split())
    assert shown(escape(text)) == line
    assert cells(table([("x", escape(text))]))[1][1] == line
    if line:
        (row,) = cells(table([("x", code(text, in_table=True))]))[1:]
        # A backslash before a bar is the one thing that code in a table cannot show.
        assert row[1] == line or "\\|" in line
    if text.strip():
        page = RENDERER.render(block(text))
        assert page.startswith("<pre><code>") and page.count("<") == 4


def test_signs_that_are_no_text_are_left_out():
    assert escape("a\x1b[0m\x00b\ud800") == "a\\[0mb"


def test_groups_with_a_command_become_sections_and_others_rows():
    value = {
        "data": "10 | faces",
        "normalizer": "box_size",
        "command": "keras-facealign evaluate a\nkeras-facealign evaluate b",
        "mean_nme": 3.14159,
        "faces": 1234567,
        "good": True,
        "by_region": {"jaw": 1.0, "AUC": {"eyes": 2}},
        "lists": [1, 2.5, "x"],
        "wild": {"data": "3 faces", "auroc": 0.5},
    }
    text = "\n\n".join(section("Accuracy", value))
    assert cells(text) == [
        ["", ""],
        ["Mean NME", "3.142"],
        ["Faces", "1 234 567"],
        ["Good", "yes"],
        ["By region: jaw", "1"],
        ["By region: AUC: eyes", "2"],
        ["Lists", "1, 2.5, x"],
        ["", ""],
        ["AUROC", "0.5"],
    ]
    page = RENDERER.render(text)
    assert "<h2>Accuracy</h2>" in page and "<h3>Wild</h3>" in page
    assert "On 10 | faces." in shown(text) and "On 3 faces." in shown(text)
    assert "<pre><code>keras-facealign evaluate a\nkeras-facealign evaluate b\n</code>" in page
