"""Commands that are stopped, by Ctrl-C or by a signal, end in order and keep what is done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# What a terminal, a shell or a cluster's scheduler sends; Windows has no SIGHUP.
_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Terminated(KeyboardInterrupt):
    """Raised in the main thread by SIGTERM and SIGHUP, as `KeyboardInterrupt` is by Ctrl-C."""


class Stop:
    """Whether the user, or a signal, wants a command to stop.

    Attributes:
        error: What asked for it, or None.
    """

    def __init__(self) -> None:
        self.error: KeyboardInterrupt | None = None
        self.at_once = False

    def check(self) -> None:
        """Ends the block of `stoppable` if this was asked for; call it where nothing is half done.

        Raises:
            KeyboardInterrupt: Which `stoppable` catches.
        """
        if self.error is not None:
            raise self.error

    def finish(self, done: str) -> None:
        """Ends the command if this was asked for; call it when all that is done has been saved.

        Args:
            done: What is done, for the message.

        Raises:
            KeyboardInterrupt: With the text `done`.
        """
        if self.error is not None:
            raise type(self.error)(done)

    def note(self, number: int, frame: FrameType | None) -> None:
        """Handles a signal: the first is noted, the second stops at once."""
        if self.error is not None:
            self.at_once = True
            raise self.error
        self.error = KeyboardInterrupt() if number == signal.SIGINT else Terminated()


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Lets a block stop at its next `check`; a second Ctrl-C stops it at once.

    Yields:
        The request to stop.

    Example:
        >>> with stoppable() as stop:
        ...     for number in range(3):
        ...         stop.check()
        >>> stop.finish(f"{number + 1} of 3 are done")
    """
    stop = Stop()
    with _handling([signal.SIGINT, *_SIGNALS], stop.note):
        try:
            yield stop
        except KeyboardInterrupt as error:
            if stop.at_once:
                raise
            stop.error = error


@contextmanager
def delayed() -> Iterator[None]:
    """Delays Ctrl-C, SIGTERM and SIGHUP until the end of a block that must not be half done."""
    noted: list[int] = []
    with _handling([signal.SIGINT, *_SIGNALS], lambda number, frame: noted.append(number)):
        yield
    if noted:
        raise KeyboardInterrupt if noted[0] == signal.SIGINT else Terminated


@contextmanager
def terminable() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP raise `Terminated`, so that unfinished files are removed."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    with _handling(_SIGNALS, stop):
        yield


@contextmanager
def _handling(numbers: list[Any], handler: Callable[..., None]) -> Iterator[None]:
    """Handles signals in a block, except those that the caller ignores, such as `nohup`."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            # None: a handler that is not Python's, which could not be restored.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
