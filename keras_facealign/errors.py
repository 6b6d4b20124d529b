"""The one exception that the library raises for input it cannot use, and checks of numbers."""

from __future__ import annotations

from numbers import Integral
from typing import Any

MAX_BATCH_SIZE = 100_000
"""Largest number of faces of a batch."""


class FaceAlignError(ValueError):
    """Raised for unusable input; the message names it, the value, and how to fix it.

    Attributes:
        results: What was computed before; None unless the function that raised it says so.
    """

    results: Any = None


def check_batch_size(batch_size: int) -> None:
    """Raises `FaceAlignError` if batches would have no faces, or far too many."""
    check_integer("batch_size", batch_size, 1, MAX_BATCH_SIZE)


def check_integer(name: str, value: Any, low: int, high: int | None = None) -> None:
    """Raises `FaceAlignError` if a value is no integer or out of range."""
    largest: Any = float("inf") if high is None else high
    integer = isinstance(value, Integral) and not isinstance(value, bool)
    if not integer or not low <= int(value) <= largest:
        limits = f"at least {low}" if high is None else f"from {low} to {high}"
        raise FaceAlignError(f"{name} is {value!r}; it must be an integer, {limits}.")
