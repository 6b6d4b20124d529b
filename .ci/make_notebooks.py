"""Makes the notebooks in `examples/notebooks/` from pages of the documentation.

    python .ci/make_notebooks.py            # writes them
    python .ci/make_notebooks.py --check    # fails if they are not those of the pages

Text becomes cells of text, `python` blocks cells of code, and `console` blocks cells of bash.
Expected outputs (`text` blocks) are left out: running a notebook shows its own.
`.ci/run_tutorials.py` runs the notebooks in the place of their pages.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "examples" / "notebooks"
PAGES = {
    "own_landmarks": ROOT / "docs" / "tutorials" / "own_landmarks.md",
    "quick_start": ROOT / "docs" / "quick_start.md",
}
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```\n?", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
# The notebooks' folder is two below the root, where the commands of the pages are run.
FIRST = """import os
import pathlib

if not pathlib.Path("examples").is_dir():
    os.chdir("../..")  # the root of the repository"""


def main() -> None:
    for name, page in PAGES.items():
        path, content = NOTEBOOKS / f"{name}.ipynb", notebook(page)
        if "--check" in sys.argv[1:]:
            if not path.is_file() or path.read_text(encoding="utf-8") != content:
                sys.exit(f"{path} is not that of {page}; run python .ci/make_notebooks.py")
        else:
            NOTEBOOKS.mkdir(exist_ok=True)
            path.write_text(content, encoding="utf-8")


def notebook(page: Path) -> str:
    """A page as a notebook, JSON."""
    text = page.read_text(encoding="utf-8")
    cells, last = [], 0
    for block in BLOCK.finditer(text):
        language, code = block.groups()
        if language not in ("python", "console", "text"):
            continue
        cells.append(words(text[last : block.start()], page))
        last = block.end()
        if language == "console":
            code = f"%%bash -e\n{code}"
        if language != "text":
            cells.append(("code", code))
    cells.append(words(text[last:], page))
    # After the title: where the commands run.
    cells.insert(1, ("code", FIRST))
    made = [
        {"cell_type": kind, "id": f"cell{number}", "metadata": {}, "source": lines(source)}
        | ({"execution_count": None, "outputs": []} if kind == "code" else {})
        for number, (kind, source) in enumerate(c for c in cells if c[1].strip())
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4}
    return json.dumps(content | {"nbformat_minor": 5}, indent=1, ensure_ascii=False) + "\n"


def words(text: str, page: Path) -> tuple[str, str]:
    """A cell of text, whose links lead to the same files from the notebooks' folder."""

    def moved(link: re.Match[str]) -> str:
        target = os.path.relpath(page.parent / link[1], NOTEBOOKS)
        return f"]({Path(target).as_posix()}"

    return "markdown", LINK.sub(moved, text).strip("\n")


def lines(source: str) -> list[str]:
    """The lines of a cell, the last one without its end."""
    return source.rstrip("\n").splitlines(keepends=True)


if __name__ == "__main__":
    main()
