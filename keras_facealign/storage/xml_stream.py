"""Reads untrusted XML files piece by piece.

A document type is refused: it is what declares entities, which can grow without limit or name other
files, and no label file needs one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NoReturn
from xml.parsers import expat

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.reading import one_line, open_regular

_CHUNK = 1 << 16
_DEEPEST, _LONGEST = 100, 1_000_000


def stream_xml(
    path: str | os.PathLike[str],
) -> Iterator[tuple[str, dict[str, str] | None, str]]:
    """Yields the starts and ends of the elements of an XML file.

    Args:
        path: The file, in an encoding that its first line names, or UTF-8 or UTF-16.

    Yields:
        At a start: tag, attributes, `""`. At an end: tag, None, the text directly inside of the
        element, without blanks around it.

    Raises:
        FaceAlignError: If the file cannot be read, is no XML, has a document type, or has elements
            nested more than 100 deep or texts of more than 1 MB.

    Example:
        >>> for tag, attributes, text in stream_xml("labels.xml"):  # doctest: +SKIP
        ...     print(tag, attributes, text)
    """
    events: list[tuple[str, dict[str, str] | None, str]] = []
    texts: list[list[str]] = []
    lengths: list[int] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        if len(texts) == _DEEPEST:
            raise FaceAlignError(f"{path}: has elements nested over {_DEEPEST} deep; check it")
        texts.append([])
        lengths.append(0)
        events.append((tag, attributes, ""))

    def end(tag: str) -> None:
        lengths.pop()
        events.append((tag, None, "".join(texts.pop()).strip()))

    def characters(text: str) -> None:
        lengths[-1] += len(text)
        if lengths[-1] > _LONGEST:
            raise FaceAlignError(f"{path}: has a text of over {_LONGEST} characters; check it")
        texts[-1].append(text)

    def refuse(*declaration: Any) -> NoReturn:
        raise FaceAlignError(
            f"{path}: declares a document type (DOCTYPE), which can hide other files and endless "
            "text; remove that line"
        )

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    parser.buffer_text = True
    with open_regular(path) as stream:
        if os.fstat(stream.fileno()).st_size == 0:
            raise FaceAlignError(f"{path}: the file is empty; replace or remove it")
        while True:
            content = stream.read(_CHUNK)
            try:
                parser.Parse(content, not content)
            except (expat.ExpatError, LookupError, ValueError) as error:
                if isinstance(error, FaceAlignError):
                    raise
                raise FaceAlignError(
                    f"{path}: is no XML ({one_line(error)}); export it again, or save it in UTF-8"
                ) from error
            yield from events
            events.clear()
            if not content:
                return
