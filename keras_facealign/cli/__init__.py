"""The console command `keras-facealign`."""

from __future__ import annotations

import os
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the console command and returns its exit code.

    Args:
        argv: The words after the program's name. Default: those of `sys.argv`.

    Returns:
        0 on success, 2 for unusable input or wrong usage (one line on standard error says why),
        130 if interrupted from the keyboard.

    Example:
        >>> main(["--version"])  # doctest: +ELLIPSIS
        keras-facealign ...
        0
    """
    from keras_facealign.cli.app import app
    from keras_facealign.cli.quiet import set_log_level

    set_log_level()
    # Plots are written to files, so no screen is needed.
    os.environ.setdefault("MPLBACKEND", "Agg")

    try:
        app(args=None if argv is None else list(argv), prog_name="keras-facealign")
    except SystemExit as stop:
        # `sys.exit(None)` and `sys.exit("text")` mean 0 and 1 to the interpreter.
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0
