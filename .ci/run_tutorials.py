"""Runs the code of documentation pages, and compares what it prints with what the page shows.

    python .ci/run_tutorials.py                       # README, quick start, a guide, tutorials
    python .ci/run_tutorials.py docs/tutorials/video.md

Every page runs in a temporary folder of its own that holds a copy of `examples/`. Blocks marked
`python` share one interpreter, blocks marked `console` are given to bash; all others are skipped,
such as `py` for code that needs the reader's own files. A
`text` block is the expected output of the block before it, with `...` for whatever varies.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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
    failed = []
    for page in pages:
        start = time.monotonic()
        if not run_in_temporary_folder(page):
            failed.append(page.name)
        print(f"{page.relative_to(ROOT)}: {time.monotonic() - start:.0f} s", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def run_in_temporary_folder(page: Path) -> bool:
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
        return subprocess.run(command, cwd=folder, env=environment, check=False).returncode == 0


def run_page(page: Path) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    printed = ""
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        language, code = block.groups()
        line = text.count("\n", 0, block.start()) + 2
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
        elif language == "text" and not doctest.OutputChecker().check_output(code, printed, MATCH):
            sys.exit(f"{page}:{line}: expected\n{code}but the block before it printed\n{printed}")


if __name__ == "__main__":
    main()
