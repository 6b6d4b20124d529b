"""Iterating over a data set while skipping the items that cannot be used."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from keras_facealign.errors import FaceAlignError

_logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


def iter_valid(
    items: Iterable[Item],
    read: Callable[[Item], Result],
    strict: bool = False,
    on_skip: Callable[[FaceAlignError], None] | None = None,
) -> Iterator[Result]:
    """Reads items one by one and skips those that cannot be used.

    Args:
        items: What to read.
        read: Reads one item; raises `FaceAlignError` where it cannot be used.
        strict: Raise on the first item that cannot be used instead of skipping it.
        on_skip: Called with the error of every skipped item. Default: each error, and their number
            at the end, is a warning of this module's logger.

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
            if on_skip is None:
                _logger.warning("Skipped: %s", error)
            else:
                on_skip(error)
            continue
        yield result
    if skipped and on_skip is None:
        _logger.warning("Skipped %d of %d samples; the reasons are above.", skipped, total)
    if total and skipped == total:
        raise FaceAlignError(f"None of the {total} samples can be used; correct the data set.")


def _keywords(
    *, strict: bool = False, on_skip: Callable[[FaceAlignError], None] | None = None
) -> None:
    """Has the parameters that `reader` adds to a function."""


def reader(
    function: Callable[..., tuple[Iterable[Any], Callable[[Any], Result]]],
) -> Callable[..., Iterator[Result]]:
    """Makes a reader of a data set from a function that lists its items.

    Args:
        function: Its first argument is the data set's folder as a `Path`. It returns the items, and
            a function that reads one of them and raises `FaceAlignError` where it is broken.

    Returns:
        The reader: it has the keyword arguments `strict` and `on_skip` too, and returns what
        `iter_valid` yields for the items.

    Example:
        >>> @reader
        ... def load_samples(root, split):
        ...     return ["1", "x", "3"], int
        >>> sum(load_samples("folder", "train", strict=True))
        Traceback (most recent call last):
        ValueError: invalid literal for int() with base 10: 'x'
    """

    @wraps(function)
    def load(root: Any, *args: Any, strict: bool = False, on_skip: Any = None, **kwargs: Any):
        items, read = function(Path(root), *args, **kwargs)
        return iter_valid(items, read, strict, on_skip)

    own, added = inspect.signature(function), inspect.signature(_keywords)
    parameters = [*own.parameters.values(), *added.parameters.values()]
    load.__signature__ = own.replace(parameters=parameters)  # pyright: ignore
    return load
