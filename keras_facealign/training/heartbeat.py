"""Notices that a process of a training run has died, so that the others do not wait for it forever.

Every process holds a connection to the first one and sends a byte over it every few seconds. A
connection that closes without a farewell, or is silent for too long, ends the program.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from keras_facealign.errors import FaceAlignError

_ALIVE, _FAREWELL = b".", b"!"


class Heartbeat:
    """Watches the processes of a run.

    Args:
        host: Address of the first process.
        port: A free port of it.
        index: This process's number.
        count: Number of processes.
        on_lost: Called once in another thread, with the number of the process that is gone.
            Default: prints a line and exits with code 1.
        every: Seconds between two signs of life.
        patience: Seconds of silence after which a process counts as dead.
        wait: Seconds to wait for the others at the beginning.

    Attributes:
        lost: Set when `on_lost` has returned.

    Raises:
        FaceAlignError: If the processes do not find each other.
    """

    def __init__(
        self,
        host: str,
        port: int,
        index: int,
        count: int,
        on_lost: Callable[[int], Any] | None = None,
        every: float = 2.0,
        patience: float = 30.0,
        wait: float = 300.0,
    ) -> None:
        self.index = index
        self.lost = threading.Event()
        self._on_lost = on_lost or _end_program
        self._every = every
        self._ended = threading.Event()
        self._noticed = False
        self._lock = threading.Lock()
        try:
            if index == 0:
                self._connections = _accept(host, port, count, wait)
            else:
                self._connections = {0: _call(host, port, index, wait)}
        except OSError as error:
            raise FaceAlignError(
                f"Process {index} of {count} has not found the others at {host}:{port} within "
                f"{wait:g} seconds ({error}); start all of them with the same --coordinator, whose "
                "port and the next one must be free."
            ) from error
        for other, connection in self._connections.items():
            connection.settimeout(patience)
            threading.Thread(target=self._listen, args=(other, connection), daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while not self._ended.wait(self._every):
            self._send(_ALIVE)

    def _send(self, sign: bytes) -> None:
        for connection in self._connections.values():
            # Whoever listens to this connection notices an error as well.
            with contextlib.suppress(OSError):
                connection.sendall(sign)

    def _listen(self, other: int, connection: socket.socket) -> None:
        try:
            while True:
                signs = connection.recv(4096)
                if _FAREWELL in signs:
                    return
                if not signs:
                    break
        except OSError:
            pass  # silent for too long, or reset
        with self._lock:
            if self._ended.is_set() or self._noticed:
                return
            self._noticed = True
        self._on_lost(other)
        self.lost.set()

    def close(self) -> None:
        """Says farewell: from now on, no process is missed."""
        self._ended.set()
        self._send(_FAREWELL)


def _accept(host: str, port: int, count: int, wait: float) -> dict[int, socket.socket]:
    found: dict[int, socket.socket] = {}
    deadline = time.monotonic() + wait
    with socket.create_server((host, port)) as server:
        while len(found) < count - 1:
            server.settimeout(max(deadline - time.monotonic(), 0.1))
            connection, _ = server.accept()
            connection.settimeout(10)
            number = connection.recv(4)
            other = int.from_bytes(number, "big")
            if len(number) == 4 and 0 < other < count and other not in found:
                found[other] = connection
            else:
                connection.close()  # something else that looks for open ports
    return found


def _call(host: str, port: int, index: int, wait: float) -> socket.socket:
    deadline = time.monotonic() + wait
    while True:
        try:
            connection = socket.create_connection((host, port), timeout=10)
        except OSError:
            # The first process may not have started yet.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
            continue
        connection.sendall(index.to_bytes(4, "big"))
        return connection


def _end_program(other: int) -> None:
    # The main thread waits in a library that cannot be interrupted.
    print(
        f"Process {other} has stopped, so this run ends too; start all processes again with the "
        "same commands to go on after the last complete epoch",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)
