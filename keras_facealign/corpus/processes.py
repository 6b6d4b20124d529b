"""The engine of processes on one machine, which may end at any time without harm."""

from __future__ import annotations

import collections
import contextlib
import multiprocessing
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from keras_facealign.corpus.aligning import ShardResult, align_shard
from keras_facealign.corpus.output import DEAD_LETTERS, FACES
from keras_facealign.corpus.shards import Shard
from keras_facealign.errors import FaceAlignError, check_integer
from keras_facealign.prediction.concurrency import available_cores, limit_cores
from keras_facealign.storage.atomic import remove_partial_files

# Processes that end at the same photo before it is left out; one may be killed by chance.
_MOST_DEATHS = 3
_CHECK_SECONDS = 0.5


def run(
    shards: Sequence[Shard],
    output: str | Path,
    load: Callable[[], Any],
    overlay_every: int = 0,
    workers: int = 1,
    memory: int | None = None,
    check: Callable[[], object] = lambda: None,
) -> Iterator[ShardResult]:
    """Aligns shards in processes of this machine.

    The shard of a process that ends too early is done again by a new one. A photo at which three
    of them ended is left out, and becomes a dead letter.

    Args:
        shards: The shards to do, from `prepare`.
        output: The folder of the results.
        load: Loads the `FaceAligner` of each process, and can be pickled, as `AlignOptions.load`.
        overlay_every: As in `AlignOptions`.
        workers: Number of processes, which share the cores.
        memory: Megabytes that a process may take for photos, in addition to its networks; a photo
            that needs more becomes a dead letter. Default: no limit. Linux only.
        check: Called about twice a second; what it raises ends the run. Whole shards are kept.

    Yields:
        The result of each shard, in the order in which they become whole.

    Raises:
        FaceAlignError: If the networks cannot be loaded, or results cannot be written.

    Example:
        >>> options = AlignOptions()  # doctest: +SKIP
        >>> missing = prepare(plan("photos"), "results", options.to_dict())  # doctest: +SKIP
        >>> for result in run(missing, "results", options.load, workers=4):  # doctest: +SKIP
        ...     print(result)
    """
    check_integer("workers", workers, 1)
    cores = max(1, available_cores() // workers)
    arguments = (str(output), load, overlay_every, cores, memory)
    queue, deaths = collections.deque(shards), collections.Counter[tuple[str, int]]()
    crew: list[_Worker] = []
    try:
        while queue or crew:
            while queue and len(crew) < workers:
                crew.append(_Worker(queue.popleft(), deaths, arguments))
            ready = wait([worker.connection for worker in crew], _CHECK_SECONDS)
            check()
            for worker in [worker for worker in crew if worker.connection in ready]:
                result = worker.result()
                if result is None:
                    worker.count_death(deaths)
                    queue.appendleft(worker.shard)
                if result is not None and queue:
                    worker.assign(queue.popleft(), deaths)
                else:
                    crew.remove(worker)
                    worker.end()
                if result is not None:
                    yield result
    finally:
        for worker in crew:
            worker.end()
        for folder in (FACES, DEAD_LETTERS):
            remove_partial_files(Path(output) / folder)


class _Worker:
    """A process, and the shard that it works on."""

    def __init__(self, shard: Shard, deaths: Any, arguments: tuple[Any, ...]) -> None:
        context = multiprocessing.get_context("spawn")
        # Memory of both processes: it tells where one ended that could not say it.
        self._position = context.RawValue("q", -1)
        self.connection, other = context.Pipe()
        self.process = context.Process(
            target=_work, args=(other, self._position, *arguments), daemon=True
        )
        with _no_interruption():
            self.process.start()
        other.close()
        self.assign(shard, deaths)

    def assign(self, shard: Shard, deaths: Any) -> None:
        self.shard = shard
        self._position.value = -1
        skip = {p for (name, p), n in deaths.items() if name == shard.name and n >= _MOST_DEATHS}
        with contextlib.suppress(OSError):  # It has ended, which `result` will tell.
            self.connection.send((shard, skip))

    def result(self) -> ShardResult | None:
        """Receives the result of the shard, or None if the process has ended.

        Raises:
            FaceAlignError: The one that ended the process.
        """
        try:
            value = self.connection.recv()
        except (EOFError, OSError):
            return None
        if isinstance(value, Exception):
            raise value
        return value

    def count_death(self, deaths: Any) -> None:
        """Notes where the process ended.

        Raises:
            FaceAlignError: If no process comes to the first photo.
        """
        self.process.join()
        place = self.shard.name, self._position.value
        deaths[place] += 1
        if place[1] < 0 and deaths[place] >= _MOST_DEATHS:
            raise FaceAlignError(
                f"{_MOST_DEATHS} processes ended while they loaded the networks (exit code "
                f"{self.process.exitcode}); use fewer workers, as the memory may be too small"
            )

    def end(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.join()


@contextlib.contextmanager
def _no_interruption() -> Iterator[None]:
    """Blocks Ctrl-C, which goes to all processes of a terminal, for good in those started here."""
    if sys.platform == "win32":
        yield
        return
    # Starting it later, with the first process, would unblock the signal.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(
    connection: Any,
    position: Any,
    output: str,
    load: Callable[[], Any],
    overlay_every: int,
    cores: int,
    memory: int | None,
) -> None:
    """Does shards until the other end of the connection is closed."""

    def note(place: int) -> None:
        position.value = place

    try:
        limit_cores(cores)
        aligner = load()
        if memory is not None:
            limit_memory(memory)
        while True:
            shard, skip = connection.recv()
            connection.send(align_shard(shard, output, aligner, overlay_every, skip, note))
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:
        # Of errors with other arguments than their message, only this can be sent.
        known = isinstance(error, (FaceAlignError, ModuleNotFoundError))
        text = str(error) if known else traceback.format_exc()
        with contextlib.suppress(OSError):
            connection.send(FaceAlignError(text) if known else RuntimeError(text))


def limit_memory(megabytes: int) -> None:
    """Limits the memory of this process to what it has now and so many megabytes more, on Linux.

    Beyond it NumPy and Pillow raise `MemoryError`.
    """
    if sys.platform != "linux":
        return
    import resource

    status = Path("/proc/self/status").read_text(encoding="ascii")
    (present,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmData"))
    limit = int(present) * 1024 + megabytes * 1_000_000
    most = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if most != resource.RLIM_INFINITY:
        limit = min(limit, most)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, most))
