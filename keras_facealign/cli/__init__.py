"""The console command `keras-facealign`."""

from __future__ import annotations

import os
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the console command and returns its exit code instead of leaving the interpreter.

    Args:
        argv: The words after the program's name; `None` takes them from `sys.argv`.

    Returns:
        0 when all went well, 2 for input or usage that cannot be used (with one line on standard
        error that says why), 130 when interrupted from the keyboard.

    Example:
        >>> main(["presets", "--json"])  # doctest: +SKIP
        0
    """
    from keras_facealign.cli.app import app
    from keras_facealign.cli.quiet import quieten_tensorflow

    quieten_tensorflow()
    # Plots go to files; a terminal need not have a screen.
    os.environ.setdefault("MPLBACKEND", "Agg")

    try:
        app(args=None if argv is None else list(argv), prog_name="keras-facealign")
    except SystemExit as stop:
        # `sys.exit(None)` and `sys.exit("text")` mean 0 and 1 to the interpreter.
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0
