"""Writes Markdown from unchecked data: escaped text, tables, sections of nested facts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

# Characters with a meaning anywhere in a line; $ starts a formula on GitHub. An underscore within a
# word has none.
_SPECIAL = re.compile(r"[\\`*<>\[\]|~&$]|(?<![^\W_])_|_(?![^\W_])")
# Starts of a list, a heading or a rule.
_START = re.compile(r"^(\d+(?=[.)])|(?=[-+=#]))")
_WORDS = {
    word.lower(): word
    for word in ("2D", "3D", "300W", "AFLW", "AUC", "AUROC", "COFW", "MERL", "MTCNN", "NME", "WFLW")
}
_DEEPEST = 6
# Keys of a group that describe how its numbers were measured.
_DATA, _COMMAND, _NORMALIZER = "data", "command", "normalizer"


def escape(text: Any) -> str:
    """Escapes one line of text so that Markdown shows it unchanged.

    Example:
        >>> escape("a*b | <c>")
        'a\\\\*b \\\\| \\\\<c\\\\>'
    """
    return _START.sub(r"\1\\", _SPECIAL.sub(r"\\\g<0>", _line(text)))


def code(text: Any, in_table: bool = False) -> str:
    """Formats one line of code within a text."""
    line = _line(text)
    fence = _fence(line, 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    line = line.replace("|", "\\|") if in_table else line
    return f"{fence}{space}{line}{space}{fence}" if line else ""


def block(text: str, language: str = "") -> str:
    """Formats a block of code."""
    lines = "\n".join(map(_printable, text.splitlines()))
    fence = _fence(lines, 3)
    return f"{fence}{language}\n{lines}\n{fence}"


def table(rows: Iterable[Sequence[str]], head: Sequence[str] = ("", "")) -> str:
    """Formats a table; columns of numbers, except for the first, are aligned right.

    Args:
        rows: Cells of each row, which are Markdown already.
        head: Cells of the header.
    """
    rows = list(rows)
    numeric = [all(re.match(r"[-*\d–]", row[i]) for row in rows) for i in range(1, len(head))]
    rule = ["---", *("---:" if right else "---" for right in numeric)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def label(key: Any) -> str:
    """Formats a key of a JSON object as words: "mtcnn_boxes" is "MTCNN boxes"."""
    words = (_WORDS.get(word.lower(), word) for word in _line(key).replace("_", " ").split())
    text = " ".join(words)
    return escape(text[:1].upper() + text[1:])


def number(value: Any) -> str:
    """Formats a value of a JSON object: whole numbers in groups of three, others to 4 digits."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, float) and abs(value) < 1e4:
        return f"{value:.4g}"
    if isinstance(value, (int, float)):
        return f"{value:,.0f}".replace(",", " ")
    return escape(value)


def facts(value: dict[str, Any], deepest: int = _DEEPEST) -> list[tuple[str, str]]:
    """Lists the leaves of nested objects: names, joined where they are nested, and values."""
    rows = []
    for key, item in value.items():
        nested = isinstance(item, (dict, list))
        if isinstance(item, dict) and item and deepest:
            for name, cell in facts(item, deepest - 1):
                # Acronyms keep their capitals.
                name = name if name[1:2].isupper() else name[:1].lower() + name[1:]
                rows.append((f"{label(key)}: {name}", cell))
        elif isinstance(item, list) and not any(isinstance(part, (dict, list)) for part in item):
            rows.append((label(key), ", ".join(map(number, item))))
        elif nested or key == _COMMAND:
            rows.append((label(key), code(json.dumps(item) if nested else item, in_table=True)))
        else:
            rows.append((label(key), number(item)))
    return rows


def section(title: str, value: dict[str, Any], level: int = 2) -> list[str]:
    """Formats a group of metrics: its data, its numbers, and the command that measures them.

    A group within it that has data or a command of its own becomes a section within the section.

    Args:
        title: Markdown.
        value: The group; `data`, `command` and `normalizer` are texts about the other values.
        level: Level of the heading.

    Returns:
        Paragraphs.
    """
    about = {key: value[key] for key in (_DATA, _NORMALIZER, _COMMAND) if _is_text(value.get(key))}
    inner = {k: v for k, v in value.items() if level < _DEEPEST and _stands_alone(v)}
    rest = {k: v for k, v in value.items() if k not in about and k not in inner}
    lead = []
    if _DATA in about:
        lead.append(f"On {escape(about[_DATA])}.")
    if _NORMALIZER in about:
        lead.append(f"Mean errors are in percent; the normalizer is {code(about[_NORMALIZER])}.")
    parts = [f"{'#' * level} {title}", *([" ".join(lead)] if lead else [])]
    if rest:
        parts.append(table(facts(rest)))
    if _COMMAND in about:
        parts.append(block(about[_COMMAND].strip()))
    for key, groups in inner.items():
        for group in groups if isinstance(groups, list) else [groups]:
            parts += section(label(key), group, level + 1)
    return parts


def _stands_alone(value: Any) -> bool:
    """Whether a value is a group, or a list of groups, with data or commands of their own."""
    groups = value if isinstance(value, list) and value else [value]
    return all(
        isinstance(group, dict) and any(_is_text(group.get(key)) for key in (_DATA, _COMMAND))
        for group in groups
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _line(text: Any) -> str:
    return _printable(" ".join(str(text).split()))


def _printable(text: str) -> str:
    """Removes control characters and unpaired surrogates, which UTF-8 cannot encode."""
    return "".join(sign for sign in text if sign.isprintable())


def _fence(text: str, least: int) -> str:
    """Makes a fence of more backticks than the text has in a row."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    return "`" * max(least, longest + 1)
