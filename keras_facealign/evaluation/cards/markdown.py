"""Markdown out of data that nobody has checked: escaped text, tables, sections of nested facts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["block", "code", "escape", "facts", "label", "number", "section", "table"]

# Signs that mean something anywhere in a line; $ starts a formula on GitHub. An underscore within
# a word does not.
_SIGNS = re.compile(r"[\\`*<>\[\]|~&$]|(?<![^\W_])_|_(?![^\W_])")
# What makes a list, a heading or a rule at the start of one.
_START = re.compile(r"([-+=#]|\d+(?=[.)]))")
_WORDS = {
    word.lower(): word
    for word in ("2D", "3D", "300W", "AFLW", "AUC", "AUROC", "COFW", "MERL", "MTCNN", "NME", "WFLW")
}
_DEEPEST = 6
# Keys of a group that say how its numbers came about.
_DATA, _COMMAND, _NORMALIZER = "data", "command", "normalizer"


def escape(text: Any) -> str:
    """One line of text that Markdown shows as it is.

    Example:
        >>> escape("a*b | <c>")
        'a\\\\*b \\\\| \\\\<c\\\\>'
    """
    line = _SIGNS.sub(r"\\\g<0>", _line(text))
    start = _START.match(line)
    if start is None:
        return line
    end = start.end()
    return f"{line[:end]}\\{line[end:]}" if line[0].isdigit() else f"\\{line}"


def code(text: Any, in_table: bool = False) -> str:
    """One line of code within a text."""
    line = _line(text)
    fence = _fence(line, 1)
    room = " " if line.startswith("`") or line.endswith("`") else ""
    if in_table:
        line = line.replace("|", "\\|")
    return f"{fence}{room}{line}{room}{fence}" if line else ""


def block(text: str, language: str = "") -> str:
    """A block of code; a line break of the text is one of the block."""
    lines = "\n".join(_printable(line) for line in text.splitlines())
    fence = _fence(lines, 3)
    return f"{fence}{language}\n{lines}\n{fence}"


def table(rows: Iterable[Sequence[str]], head: Sequence[str] = ("", "")) -> str:
    """A table of cells that are Markdown already; numbers to the right, but for the first column.

    Args:
        rows: Cells of each line.
        head: Cells above them.
    """
    lines = [list(row) for row in rows]

    def numeric(column: int) -> bool:
        return all(re.match(r"[-*\d–]", row[column]) for row in lines)

    rule = ["---", *("---:" if numeric(i) else "---" for i in range(1, len(head)))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (list(head), rule, *lines))


def label(key: Any) -> str:
    """A key of a JSON object as words: "mtcnn_boxes" is "MTCNN boxes"."""
    words = [_WORDS.get(word.lower(), word) for word in _line(key).replace("_", " ").split()]
    text = " ".join(words)
    return escape(text[:1].upper() + text[1:])


def number(value: Any) -> str:
    """A value of a JSON object as a cell: whole numbers in groups of three, others to 4 digits."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}".replace(",", " ")
    return escape(value)


def facts(value: dict[str, Any], deepest: int = _DEEPEST) -> list[tuple[str, str]]:
    """The leaves of nested objects: names, joined where they are nested, and values."""
    rows = []
    for key, item in value.items():
        if isinstance(item, dict) and item and deepest > 0:
            inner = facts(item, deepest - 1)
            rows += [(f"{label(key)}: {_within(name)}", cell) for name, cell in inner]
        elif isinstance(item, list) and not any(isinstance(part, (dict, list)) for part in item):
            rows.append((label(key), ", ".join(number(part) for part in item)))
        elif isinstance(item, (dict, list)):
            rows.append((label(key), code(json.dumps(item), in_table=True)))
        elif key == _COMMAND:
            rows.append((label(key), code(item, in_table=True)))
        else:
            rows.append((label(key), number(item)))
    return rows


def section(title: str, value: dict[str, Any], level: int = 2) -> list[str]:
    """A group of metrics: on which data, the numbers, and the command that gives them again.

    A group within it that has data or a command of its own becomes a section within the section.

    Args:
        title: Markdown.
        value: The group; `data`, `command` and `normalizer` are texts about the other values.
        level: Of the heading.

    Returns:
        Paragraphs.
    """
    about = {key: value[key] for key in (_DATA, _NORMALIZER, _COMMAND) if _is_text(value.get(key))}
    groups: list[tuple[str, dict[str, Any]]] = []
    rest = {}
    for key, item in value.items():
        members: list[Any] = item if isinstance(item, list) and item else [item]
        if level < _DEEPEST and all(isinstance(m, dict) and _stands_alone(m) for m in members):
            groups += [(label(key), member) for member in members]
        elif key not in about:
            rest[key] = item
    parts = [f"{'#' * level} {title}"]
    lead = []
    if _DATA in about:
        lead.append(f"On {escape(about[_DATA])}.")
    if _NORMALIZER in about:
        lead.append(f"Mean errors are in percent; the normalizer is {code(about[_NORMALIZER])}.")
    if lead:
        parts.append(" ".join(lead))
    if rest:
        parts.append(table(facts(rest)))
    if _COMMAND in about:
        parts.append(block(about[_COMMAND].strip()))
    for name, group in groups:
        parts += section(name, group, level + 1)
    return parts


def _stands_alone(group: dict[str, Any]) -> bool:
    return any(_is_text(group.get(key)) for key in (_DATA, _COMMAND))


def _within(name: str) -> str:
    """A label within a line: capitals stay in words that have more of them."""
    return name if name[1:2].isupper() else name[:1].lower() + name[1:]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _line(text: Any) -> str:
    return _printable(" ".join(str(text).split()))


def _printable(text: str) -> str:
    """Without control signs and halves of pairs, which no file in UTF-8 can have."""
    return "".join(sign for sign in text if sign.isprintable())


def _fence(text: str, least: int) -> str:
    """More backticks than the text has next to each other."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    return "`" * max(least, longest + 1)
