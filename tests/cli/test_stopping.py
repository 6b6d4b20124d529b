"""Ctrl-C and SIGTERM: a command ends in order, and says what is done."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from keras_facealign.cli.stopping import Terminated, delayed, stoppable, terminable

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

KINDS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated, signal.SIGHUP: Terminated}


@pytest.mark.parametrize("number", KINDS)
def test_a_block_ends_at_its_next_check(number):
    before = signal.getsignal(number)
    done = []
    with stoppable() as stop:
        for step in range(5):
            stop.check()
            if step == 2:
                os.kill(os.getpid(), number)
            done.append(step)
    assert done == [0, 1, 2]
    assert signal.getsignal(number) is before
    with pytest.raises(KINDS[number], match="3 of 5"):
        stop.finish("3 of 5 are done")


def test_a_second_ctrl_c_stops_at_once():
    done = []
    with pytest.raises(KeyboardInterrupt), stoppable():
        os.kill(os.getpid(), signal.SIGINT)
        done.append(1)
        os.kill(os.getpid(), signal.SIGINT)
        done.append(2)
    assert done == [1]


def test_an_interruption_inside_the_block_ends_it():
    with stoppable() as stop:
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt, match="some"):
        stop.finish("some")


def test_without_a_signal_nothing_happens():
    with stoppable() as stop:
        stop.check()
    stop.finish("all")


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminable(), stoppable() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            stop.check()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_sigterm_raises_so_that_files_are_closed():
    with pytest.raises(Terminated), terminable():
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("the signal came late")


def test_other_threads_leave_signals_alone():
    ended = []

    def work() -> None:
        with terminable(), stoppable() as stop:
            stop.check()
        ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended == [True]


@pytest.mark.parametrize("number", KINDS)
def test_a_block_can_delay_signals_to_its_end(number):
    before = signal.getsignal(number)
    done = []
    with pytest.raises(KINDS[number]) as caught, delayed():
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        done.append(1)
    assert done == [1] and caught.type is KINDS[number]
    assert signal.getsignal(number) is before
