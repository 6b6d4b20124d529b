"""What lets a network run in any thread, and in forked and spawned processes.

Interpreters and compiled networks may be used by one thread at a time, cannot be pickled, and do
not survive a fork, which copies their memory but not their threads. So nothing holds them directly:
`PerProcess` makes a value once in every process, and `WorkerPool` lends objects to one thread at a
time. Both travel to other processes as the function that makes the value.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Generic, TypeVar

from keras_facealign.errors import FaceAlignError

T = TypeVar("T")

_MISSING: Any = object()
_living: weakref.WeakSet[PerProcess[Any]] = weakref.WeakSet()
# Whether Keras has computed in this process; and whether it had in one that this was forked from.
_keras_started = _keras_lost = False
_most_cores = sys.maxsize


def available_cores() -> int:
    """Counts the processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _most_cores)
    return min(os.cpu_count() or 1, _most_cores)


def limit_cores(most: int) -> None:
    """Limits the cores that runtimes and detectors loaded from now on use in this process."""
    global _most_cores
    _most_cores = max(1, most)


class PerProcess(Generic[T]):
    """A value that each process makes for itself, once, when a thread first asks for it.

    Pickling and copying take along `make`, not the value.

    Args:
        make: Makes the value.

    Example:
        >>> numbers = PerProcess(list)
        >>> numbers.get() is numbers.get()
        True
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._renew()
        _living.add(self)

    def _renew(self) -> None:
        self._value: T = _MISSING
        self._lock = threading.Lock()

    def get(self) -> T:
        """Returns the value; the first thread makes it while others wait."""
        value = self._value
        if value is _MISSING:
            with self._lock:
                value = self._value
                if value is _MISSING:
                    value = self._value = self._make()
        return value

    def after_fork(self) -> None:
        """Forgets the parent's value, and a lock that one of its other threads held."""
        if self._value is not _MISSING:
            # Never destroyed: that would wait for threads which do not exist in this process.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._value))
        self._renew()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._make,)


def start_threads(count: int) -> ThreadPoolExecutor | None:
    """Starts a number of threads; returns None where that is not possible.

    A limit of the memory or of the number of threads is met here, not in the middle of the work.
    """
    threads, all_there = ThreadPoolExecutor(count), threading.Barrier(count)
    try:
        # A thread is started with each task, since the tasks before it wait.
        for _ in range(count):
            threads.submit(all_there.wait)
    except RuntimeError:
        all_there.abort()
        threads.shutdown(wait=False)
        return None
    return threads


class WorkerPool(Generic[T]):
    """Lends objects that only one thread at a time may use.

    They are made when all others are lent; a single thread always gets the same one.

    Args:
        make: Makes an object. For pickling the pool it has to pickle, too.
        most: Largest number of objects; further threads wait. Default: the number of cores.

    Example:
        >>> pool = WorkerPool(list, most=2)
        >>> with pool.borrow() as mine, pool.borrow() as other:
        ...     mine is other
        False
    """

    def __init__(self, make: Callable[[], T], most: int | None = None) -> None:
        self._make, self._most = make, most
        self._shelf = PerProcess(partial(_Shelf, most))

    @contextlib.contextmanager
    def borrow(self) -> Iterator[T]:
        """Lends an object for the length of a `with` block.

        One whose block ends with an error is dropped, since its state is unknown.
        """
        shelf: _Shelf = self._shelf.get()
        with shelf.places:
            try:
                worker = shelf.idle.pop()
            except IndexError:
                worker = self._make()
            yield worker
            shelf.idle.append(worker)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._make, self._most)


class _Shelf:
    """What a pool has in one process: places for threads, and the objects that are not lent."""

    def __init__(self, most: int | None) -> None:
        self.places = threading.Semaphore(most or available_cores())
        self.idle: collections.deque[Any] = collections.deque()


def start_keras() -> None:
    """Notes that Keras is going to compute in this process.

    Raises:
        FaceAlignError: In a process that was forked from one in which Keras had computed: the
            threads of its backend are missing here, and it would wait for them forever. And if
            `keras.json` has been changed to channels first, which the networks are not made for.
    """
    global _keras_started
    import keras

    order = keras.config.image_data_format()
    if order != "channels_last":
        raise FaceAlignError(
            f"Keras's image_data_format is {order!r}, and these networks need 'channels_last'; "
            "change it in keras.json, or call keras.config.set_image_data_format"
        )
    if _keras_lost:
        raise FaceAlignError(
            "Keras has computed before this process was forked, and would hang in it; start the "
            "process with multiprocessing.get_context('spawn'), or use an exported file "
            "(runtime='litert'), which works in forked processes"
        )
    _keras_started = True


def _tensorflow_started() -> bool:
    """Whether TensorFlow has started its threads, for whatever purpose."""
    context = getattr(sys.modules.get("tensorflow.python.eager.context"), "_context", None)
    return bool(getattr(context, "_initialized", False))


def _after_fork() -> None:
    global _keras_lost
    _keras_lost = _keras_lost or _keras_started or _tensorflow_started()
    for value in list(_living):
        value.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
