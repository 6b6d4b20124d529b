"""Processes notice when another one dies, and only then."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.training.heartbeat import Heartbeat
from tests.models.test_devices import free_port


def connected(count, on_lost=None, **options):
    """Heartbeats of several processes, and the lists of those that each misses."""
    port, missed = free_port(), [[] for _ in range(count)]
    beats = [None] * count

    def start(i):
        beats[i] = Heartbeat(
            "127.0.0.1", port, i, count, on_lost or missed[i].append, every=0.05, wait=20, **options
        )

    threads = [threading.Thread(target=start, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return beats, missed


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_nobody_misses_who_says_farewell():
    beats, missed = connected(3, patience=20)
    for beat in (beats[1], beats[0], beats[2]):
        beat.close()
    time.sleep(0.3)
    assert missed == [[], [], []]
    assert not any(beat.lost.is_set() for beat in beats)


@pytest.mark.parametrize(("dead", "who"), [(1, 0), (0, 2)])
def test_a_closed_connection_is_noticed_at_once(dead, who):
    """As the system closes it when a process is killed."""
    beats, missed = connected(3, patience=60)
    for connection in beats[dead]._connections.values():
        connection.shutdown(socket.SHUT_RDWR)
    assert wait_until(lambda: missed[who] == [dead])
    assert beats[who].lost.wait(20)


def test_it_is_lost_once_that_has_been_said():
    """The main thread waits for `lost` before it lets an error of its own end the program."""
    noticed, may_say = threading.Event(), threading.Event()

    def on_lost(_):
        noticed.set()
        may_say.wait(20)

    beats, _ = connected(2, on_lost=on_lost)
    beats[1]._connections[0].shutdown(socket.SHUT_RDWR)
    assert noticed.wait(20) and not beats[0].lost.is_set()
    may_say.set()
    assert beats[0].lost.wait(20)


def test_silence_is_noticed():
    """As of a process that is stopped, or a cable that is cut."""
    beats, missed = connected(2, patience=1.0)
    beats[1]._ended.set()  # it beats no more, and keeps its connection
    assert wait_until(lambda: missed[0] == [1])


def test_processes_that_do_not_find_each_other():
    with pytest.raises(FaceAlignError, match=r"Process 1 of 2 has not found the others at .* 0\.1"):
        Heartbeat("127.0.0.1", free_port(), 1, 2, wait=0.1)
    with pytest.raises(FaceAlignError, match="same --coordinator"):
        Heartbeat("127.0.0.1", free_port(), 0, 2, wait=0.1)
