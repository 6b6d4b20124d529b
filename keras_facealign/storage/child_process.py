"""Checks what may kill the program in a process of its own first.

Libraries in C, which read HDF5 files or run networks, can be crashed by damaged files. Whatever
happens to the new process, the program gets an error in one line.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from keras_facealign.errors import FaceAlignError

_SECONDS, _PROCESSOR_SECONDS, _BYTES_A_SECOND = 60.0, 8, 20_000_000
# Address space, besides what libraries take, and for each byte of the file.
_FREE_BYTES, _TIMES_FILE = 500_000_000, 8
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from keras_facealign.storage.child_process import main; main(*sys.argv[2:])"
)
# What was checked, and what is wrong with it.
_checked: dict[tuple[str, ...], str] = {}


def check_in_child(function: str, content: bytes, name: str, *arguments: str) -> None:
    """Calls a function in a new process, once for each content, which takes up to half a second.

    Args:
        function: Its module and name. It is called with `content`, `name` and `arguments`, raises
            an error if the content is bad, and calls `limit_process` after it has imported what it
            needs. An `ImportError` counts as no error: who wants to use the library finds out.
        content: A file.
        name: What error messages call it.
        *arguments: Further arguments.

    Raises:
        FaceAlignError: If the function has raised an error, or its process has died.
    """
    key = (hashlib.sha256(content).hexdigest(), function, name, *arguments)
    if key not in _checked:
        _checked[key] = _outcome(function, content, name, *arguments)
    if _checked[key]:
        raise FaceAlignError(_checked[key])


def limit_process(size: int, free_bytes: int = _FREE_BYTES) -> None:
    """Limits time and memory of this process to what a file of `size` bytes may need.

    Args:
        size: The file's size.
        free_bytes: Address space that it may take whatever its size, besides what is in use.
    """
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        seconds = _PROCESSOR_SECONDS + size // _BYTES_A_SECOND
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + free_bytes + _TIMES_FILE * size
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _outcome(function: str, content: bytes, name: str, *arguments: str) -> str:
    """What is wrong with the content; "" if nothing is."""
    program = [sys.executable, "-I", "-c", _PROGRAM, json.dumps(sys.path)]
    try:
        process = subprocess.run(
            [*program, function, name, *arguments],
            input=content,
            capture_output=True,
            timeout=_SECONDS + len(content) // _BYTES_A_SECOND,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return _died(name, f"after {error.timeout:.0f} s")
    except OSError as error:
        return f"{name}: cannot be checked, no process can be started ({error})"
    return answer_of(process.returncode, process.stdout, name)


def answer_of(code: int, output: bytes, name: str) -> str:
    """What a process says that has called `main`."""
    if code:
        return _died(name, signal.Signals(-code).name if code < 0 else f"with exit code {code}")
    # The last line: libraries print before.
    return str(json.loads(output.decode("utf-8", "replace").split("\n")[-1]))


def _died(name: str, how: str) -> str:
    return f"{name}: is damaged, a trial in another process ended {how}; replace the file"


def main(function: str, name: str, *arguments: str) -> None:
    """Calls a function on standard input, writes what is wrong, and ends the process."""
    problem = problem_of(function, sys.stdin.buffer.read(), name, *arguments)
    sys.stdout.write(f"\n{json.dumps(problem)}")
    sys.stdout.flush()
    # Without the destructors of damaged objects.
    os._exit(0)


def problem_of(function: str, content: bytes, name: str, *arguments: str) -> str:
    """Calls a function on a content; what is wrong with it, or "" if nothing is."""
    module, _, attribute = function.rpartition(".")
    try:
        getattr(importlib.import_module(module), attribute)(content, name, *arguments)
    except ImportError:
        pass
    except FaceAlignError as error:
        return " ".join(str(error).split())
    except Exception as error:  # Whatever a damaged file brings about.
        text = " ".join(f"{type(error).__name__} {error}".split())[:300]
        return f"{name}: cannot be used ({text}); replace the file"
    return ""
