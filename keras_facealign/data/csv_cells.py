"""Names of files as cells of CSV files, which spreadsheets do not take for formulas.

A cell that begins with `=`, `+`, `-`, `@`, a tab or a line break is a formula to Excel and others.
As OWASP advises (https://owasp.org/www-community/attacks/CSV_Injection), an apostrophe is put
before it, which spreadsheets read as "this is text". The bytes of a name that is not UTF-8 become
`\\udc80` to `\\udcff`, as in JSON, and a carriage return `\\u000d`, which not all CSV readers keep.
"""

from __future__ import annotations

import re

# The wide forms are formulas, too, in East Asian versions.
_FORMULA = re.compile("'*[=+\\-@\t\n＝＋－＠]")
_ESCAPED_FORMULA = re.compile("'+[=+\\-@\t\n＝＋－＠]")
_ESCAPED_CHARACTER = re.compile(r"\\u(000d|dc[89a-f][0-9a-f])")


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
