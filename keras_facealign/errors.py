"""The one exception that the library raises for input it cannot use."""

from __future__ import annotations

from typing import Any


class FaceAlignError(ValueError):
    """Raised for unusable input; the message names it, the value, and how to fix it.

    Attributes:
        results: What was computed before; None unless the function that raised it says so.
    """

    results: Any = None
