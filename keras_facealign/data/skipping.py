"""Reading one item after the other, and what happens to those that cannot be used."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from keras_facealign.errors import FaceAlignError

__all__ = ["iter_valid"]

_logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


def iter_valid(
    items: Iterable[Item],
    read: Callable[[Item], Result],
    strict: bool = False,
    on_skip: Callable[[FaceAlignError], None] | None = None,
) -> Iterator[Result]:
    """Reads items one after the other, passing over those that cannot be used.

    Each one passed over is named, with the reason, in a warning of this module's logger, and their
    count follows at the end.

    Args:
        items: What to read.
        read: Reads one item; raises `FaceAlignError` where it cannot be used.
        strict: Raise on the first item that cannot be used instead of passing over it.
        on_skip: Called with the error of every item passed over.

    Yields:
        What `read` returns, in the order of the items.

    Raises:
        FaceAlignError: With `strict`, an item cannot be used; or none at all can.

    Example:
        >>> def read(text):
        ...     if not text.isdigit():
        ...         raise FaceAlignError(f"{text}: not a number")
        ...     return int(text)
        >>> list(iter_valid(["1", "x", "3"], read))
        [1, 3]
    """
    total = skipped = 0
    for item in items:
        total += 1
        try:
            result = read(item)
        except FaceAlignError as error:
            if strict:
                raise
            skipped += 1
            _logger.warning("Skipped: %s", error)
            if on_skip is not None:
                on_skip(error)
            continue
        yield result
    if skipped:
        _logger.warning("Skipped %d of %d samples; the reasons are above.", skipped, total)
    if total and skipped == total:
        raise FaceAlignError(f"None of the {total} samples can be used; correct the data set.")
