"""Markdown as a reader sees it, by a renderer that is not ours."""

from __future__ import annotations

import html
import re

from markdown_it import MarkdownIt

RENDERER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def shown(markdown: str) -> str:
    """What a reader sees of Markdown, without tags."""
    return html.unescape(re.sub(r"<[^>]*>", "", RENDERER.render(markdown))).strip()


def cells(markdown: str) -> list[list[str]]:
    """The cells of all tables as a reader sees them."""
    page = RENDERER.render(markdown)
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [
        [
            html.unescape(re.sub(r"<[^>]*>", "", cell))
            for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)
        ]
        for row in rows
    ]
