"""Streaming XML gives what ElementTree gives, and refuses entities."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.xml_stream import stream_xml

TEXT = """<?xml version="1.0" encoding="{encoding}"?>
<!-- note --><?style x?>
<dataset><images><image file='a &amp; ü.jpg' width="10"><box><label>
 one </label></box></image></images><end/></dataset>"""


def plain(element):
    yield element.tag, dict(element.attrib), ""
    for child in element:
        yield from plain(child)
    yield element.tag, None, (element.text or "").strip()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_same_as_element_tree(tmp_path, encoding):
    path = tmp_path / "a.xml"
    path.write_bytes(TEXT.format(encoding=encoding).encode(encoding))
    assert list(stream_xml(path)) == list(plain(ElementTree.parse(path).getroot()))


def test_a_file_larger_than_a_chunk(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text("<a>" + "<b c='1'>x</b>" * 20_000 + "</a>")
    assert sum(attributes == {"c": "1"} for _, attributes, _ in stream_xml(path)) == 20_000


BOMB = '<!DOCTYPE a [<!ENTITY b "xxxxxxxxxx"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BOMB, "DOCTYPE"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "DOCTYPE"),
        ("<a>&b;</a>", "is no XML"),
        ("<a><b></a>", "is no XML"),
        ("<a>", "is no XML"),
        ("text", "is no XML"),
        ("", "empty"),
        ("<?xml version='1.0' encoding='nonsense'?><a/>", "is no XML"),
        ("<a>" * 200 + "</a>" * 200, "nested over 100 deep"),
        ("<a>" + "x" * 1_000_001 + "</a>", "over 1000000 characters"),
    ],
)
def test_what_is_refused(tmp_path, text, told):
    path = tmp_path / "a.xml"
    path.write_text(text)
    with pytest.raises(FaceAlignError, match=told) as caught:
        list(stream_xml(path))
    assert str(path) in str(caught.value)


def test_undeclared_latin_1_is_named(tmp_path):
    path = tmp_path / "a.xml"
    path.write_bytes("<a b='ü'/>".encode("latin-1"))
    with pytest.raises(FaceAlignError, match="save it in UTF-8"):
        list(stream_xml(path))
