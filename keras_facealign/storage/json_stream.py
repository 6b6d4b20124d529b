"""Reads large JSON files piece by piece, in memory that depends on the pieces alone.

Label files reach hundreds of megabytes, and `json.loads` takes several times as much for their
objects. Nearly all of them are one object of long lists, or one list, of small elements; these are
decoded one at a time by the standard library's scanner, which needs no further package.
"""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Iterator
from typing import IO, Any

from keras_facealign.errors import FaceAlignError
from keras_facealign.storage.reading import one_line, open_regular

MAX_ELEMENT = 4_000_000
"""Largest element in characters; its objects take several times as much memory."""

_CHUNK = 1 << 18
_BLANK = re.compile(r"[ \t\n\r]*")
# What may follow a number; not nothing.
_AFTER = tuple(",]} \t\n\r")
_DECODER = json.JSONDecoder()


def stream_json(path: str | os.PathLike[str]) -> Iterator[tuple[str, str | int | None, Any]]:
    """Yields the elements of a JSON document that is an object or a list.

    Bytes that are not UTF-8 become surrogates (`surrogateescape`), as in names of files.

    Args:
        path: The file: UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Yields:
        Key, place and value. Of a list: `""`, the index, the element. Of an object: the key; where
        its value is a list or an object, the index or the key in there and that element, one after
        the other; else None and the value.

    Raises:
        FaceAlignError: If the file cannot be read, is neither a JSON object nor a list, or an
            element is longer than `MAX_ELEMENT`.

    Example:
        >>> for key, place, value in stream_json("labels.json"):  # doctest: +SKIP
        ...     if key == "annotations":
        ...         print(place, value["keypoints"])
    """
    with open_regular(path) as stream:
        text = _Text(stream, str(path))
        opening = text.peek()
        if opening == "[":
            yield from (("", place, text.value()) for place in text.members())
        elif opening == "{":
            for key in text.members():
                if text.peek() in ("[", "{"):
                    yield from ((str(key), place, text.value()) for place in text.members())
                else:
                    yield str(key), None, text.value()
        elif not opening:
            raise FaceAlignError(f"{path}: the file is empty; replace or remove it")
        else:
            raise text.error("is not a JSON object or list")
        if text.peek():
            raise text.error("has more after the end of the JSON document")


class _Text:
    """The unread part of a file, of which little is in memory."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream, self._name = stream, name
        encoding = json.detect_encoding(stream.read(4))
        stream.seek(0)
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
        self._text, self._at, self._before, self._ended = "", 0, 0, False

    def error(self, reason: str) -> FaceAlignError:
        place = self._before + self._at + 1
        return FaceAlignError(
            f"{self._name}: {reason} (at character {place}); correct it, or export it again"
        )

    def peek(self) -> str:
        """The next character that is not blank; an empty string at the end."""
        while True:
            match = _BLANK.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read(_CHUNK):
                return ""

    def members(self) -> Iterator[str | int]:
        """Enters a list or an object; yields each index or key with the value coming next."""
        listed = self.peek() == "["
        closing = "]" if listed else "}"
        self._at += 1
        if self.peek() == closing:
            self._at += 1
            return
        index = 0
        while True:
            if listed:
                yield index
            else:
                if self.peek() != '"':
                    raise self.error("lacks a key in quotes")
                key = self.value()
                self._expect(":")
                yield key
            index += 1
            if self.peek() == closing:
                self._at += 1
                return
            self._expect(",")

    def value(self) -> Any:
        """Decodes the value that comes next."""
        self.peek()
        goal = _CHUNK
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
                # A number at the end of what is read may go on: -1 and -1. and -1.5
                cut = isinstance(value, (int, float)) and self._text[end : end + 1] not in _AFTER
                if not cut or self._ended:
                    self._at = end
                    return value
                problem = "is too long"
            except json.JSONDecodeError as error:
                problem = f"cannot be read: {one_line(error).partition(':')[0]}"
            except (RecursionError, ValueError) as error:  # A whole number of too many digits.
                raise self.error(f"cannot be read: {one_line(error)}") from error
            if len(self._text) - self._at > MAX_ELEMENT:
                raise self.error(f"{problem} within {MAX_ELEMENT} characters")
            if not self._read(goal):
                raise self.error(problem)
            goal *= 2

    def _expect(self, character: str) -> None:
        if self.peek() != character:
            raise self.error(f"lacks a {character!r}")
        self._at += 1

    def _read(self, size: int) -> bool:
        """Reads on; False at the end of the file."""
        if self._ended:
            return False
        content = self._stream.read(size)
        self._ended = not content
        try:
            more = self._decoder.decode(content, final=self._ended)
        except UnicodeDecodeError as error:
            raise self.error(f"is not text in {error.encoding}") from error
        self._before += self._at
        self._text, self._at = self._text[self._at :] + more, 0
        return True
