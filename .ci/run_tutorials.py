"""Runs the code of documentation pages, and compares what it prints with what the page shows.

    python .ci/run_tutorials.py                       # README, quick start, a guide, tutorials
    python .ci/run_tutorials.py docs/tutorials/video.md

Every page runs in a temporary folder of its own that holds a copy of `examples/`. Blocks marked
`python` share one interpreter, blocks marked `console` are given to bash; all others are skipped,
such as `py` for code that needs the reader's own files. A
`text` block is the expected output of the block before it, with `...` for whatever varies.

Of a page with a notebook, the notebook is run, as its cells are the page's blocks, one for one
(`.ci/make_notebooks.py --check`); without nbconvert and ipykernel, the page itself is.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from make_notebooks import NOTEBOOKS, PAGES

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
MATCH = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def main() -> None:
    if sys.argv[1:2] == ["--page"]:
        run_page(Path(sys.argv[2]))
        return
    pages = [Path(name).resolve() for name in sys.argv[1:]] or [
        ROOT / "README.md",
        ROOT / "docs" / "quick_start.md",
        ROOT / "docs" / "guides" / "threads_and_processes.md",
        *sorted((ROOT / "docs" / "tutorials").glob("*.md")),
    ]
    notebooks = {page: NOTEBOOKS / f"{name}.ipynb" for name, page in PAGES.items()}
    if not all(importlib.util.find_spec(name) for name in ("ipykernel", "nbconvert")):
        print("nbconvert or ipykernel is not installed: pages are run instead of their notebooks.")
        notebooks = {}
    failed = []
    for page in pages:
        start, shown = time.monotonic(), notebooks.get(page, page).relative_to(ROOT)
        if not run_in_temporary_folder(page, notebooks.get(page)):
            failed.append(str(shown))
        print(f"{shown}: {time.monotonic() - start:.0f} s", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def run_in_temporary_folder(page: Path, notebook: Path | None) -> bool:
    """Runs a page, or its notebook, and tells whether it prints what the page shows."""
    scripts = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "MPLBACKEND": "Agg",
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    command = [sys.executable, str(Path(__file__).resolve()), "--page", str(page)]
    with tempfile.TemporaryDirectory() as folder:
        ignored = shutil.ignore_patterns("mobile_web")
        shutil.copytree(ROOT / "examples", Path(folder) / "examples", ignore=ignored)
        if notebook is None:
            return subprocess.run(command, cwd=folder, env=environment, check=False).returncode == 0
        shutil.copy(notebook, folder)
        command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--stdout"]
        done = subprocess.run(
            [*command, notebook.name], cwd=folder, env=environment, stdout=subprocess.PIPE
        )
        return done.returncode == 0 and shows_the_outputs(json.loads(done.stdout), page)


def shows_the_outputs(notebook: dict[str, Any], page: Path) -> bool:
    """Whether the cells of a notebook that ran have printed what its page shows."""
    # The first cell of code is the notebook's own.
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"][1:]
    printed = ""
    for line, language, code in blocks(page):
        if language != "text":
            outputs = cells.pop(0)["outputs"]
            printed = "".join(
                text for o in outputs if o.get("name") == "stdout" for text in o["text"]
            )
        elif not is_expected(printed, code):
            print(mismatch(page, line, code, printed))
            return False
    return True


def blocks(page: Path) -> Iterator[tuple[int, str, str]]:
    """Line, language and content of the blocks of a page that are run or compared."""
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        language, code = block.groups()
        if language in ("python", "console", "text"):
            yield text.count("\n", 0, block.start()) + 2, language, code


def is_expected(printed: str, text: str) -> bool:
    """Whether a block has printed what the page shows after it."""
    return doctest.OutputChecker().check_output(text, printed, MATCH)


def mismatch(page: Path, line: int, text: str, printed: str) -> str:
    """A message about a block that has printed something else."""
    return f"{page}:{line}: expected\n{text}but the block before it printed\n{printed}"


def run_page(page: Path) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    printed = ""
    for line, language, code in blocks(page):
        if language == "python":
            # Empty lines in front let a traceback give the line of the page.
            compiled = compile("\n" * (line - 1) + code, str(page), "exec")
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compiled, names)
            printed = output.getvalue()
        elif language == "console":
            done = subprocess.run(
                ["bash", "-ec", code], stdout=subprocess.PIPE, text=True, check=False
            )
            printed = done.stdout
            if done.returncode:
                sys.exit(f"{page}:{line}: exit code {done.returncode} of\n{code}{printed}")
        elif not is_expected(printed, code):
            sys.exit(mismatch(page, line, code, printed))


if __name__ == "__main__":
    main()
