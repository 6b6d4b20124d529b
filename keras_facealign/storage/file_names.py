"""Names of files, which may have any character, in lines of text and in CSV files.

A cell of a CSV file that begins with `=`, `+`, `-`, `@`, a tab or a line break is a formula to
Excel and others. As OWASP advises (https://owasp.org/www-community/attacks/CSV_Injection), an
apostrophe is put before it, which spreadsheets read as "this is text". The bytes of a name that is
not UTF-8 become `\\udc80` to `\\udcff`, as in JSON, and a carriage return `\\u000d`, which not all
CSV readers keep.
"""

from __future__ import annotations

import re

# The wide forms are formulas, too, in East Asian versions.
_FORMULA = re.compile("'*[=+\\-@\t\n＝＋－＠]")
_ESCAPED_FORMULA = re.compile("'+[=+\\-@\t\n＝＋－＠]")
_ESCAPED_CHARACTER = re.compile(r"\\u(000d|dc[89a-f][0-9a-f])")
# Control characters, lone surrogates, separators of lines, and the characters that reverse the
# direction of the text after them.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def printable(text: str, keep: str = "") -> str:
    """Replaces characters that would change the terminal or the line by their escapes.

    Args:
        text: Any text, such as the name of a file.
        keep: Characters to leave as they are.

    Returns:
        The text on one line, with escapes as in Python, such as `\\n` or `\\udcff`.

    Example:
        >>> printable("a\\nb.jpg")
        'a\\\\nb.jpg'
    """

    def escape(match: re.Match[str]) -> str:
        character = match[0]
        return character if character in keep else character.encode("unicode_escape").decode()

    return _UNPRINTABLE.sub(escape, text)


def plot_text(text: str) -> str:
    """Makes text that Matplotlib draws as it is, without formulas between dollar signs.

    Example:
        >>> print(plot_text("a$b"))
        a\\$b
    """
    return printable(text).replace("$", r"\$")


def escape_cell(text: str) -> str:
    """Makes text that spreadsheets show as it is, and that UTF-8 can encode.

    Args:
        text: Any text, such as the name of a file.

    Returns:
        The text for a cell; `unescape_cell` reverses it.

    Example:
        >>> escape_cell("=1+1.jpg"), escape_cell("a-b.jpg")
        ("'=1+1.jpg", 'a-b.jpg')
    """
    text = text.encode("utf-8", "backslashreplace").decode().replace("\r", "\\u000d")
    return f"'{text}" if _FORMULA.match(text) else text


def unescape_cell(cell: str) -> str:
    """Returns the text of a cell that `escape_cell` made; other cells are left as they are.

    Args:
        cell: The cell as a CSV reader gives it.

    Example:
        >>> unescape_cell("'=1+1.jpg"), unescape_cell("'tis.jpg")
        ('=1+1.jpg', "'tis.jpg")
    """
    text = cell[1:] if _ESCAPED_FORMULA.match(cell) else cell
    return _ESCAPED_CHARACTER.sub(lambda match: chr(int(match[1], 16)), text)
