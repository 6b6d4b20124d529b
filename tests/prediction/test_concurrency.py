"""Values that each process makes for itself, and objects lent to one thread at a time."""

from __future__ import annotations

import copy
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from keras_facealign.errors import FaceAlignError
from keras_facealign.prediction import concurrency
from keras_facealign.prediction.concurrency import PerProcess, WorkerPool
from tests.forking import in_child, needs_fork


class Worker:
    """Fails where two threads are in it at once."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.busy = False

    def work(self) -> None:
        assert not self.busy
        self.busy = True
        time.sleep(0.002)
        self.busy = False


def use(pool: WorkerPool[Worker]) -> Worker:
    with pool.borrow() as worker:
        worker.work()
        return worker


def test_a_value_is_made_once_for_all_threads():
    def make() -> object:
        time.sleep(0.05)
        return object()

    value = PerProcess(make)
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(lambda _: value.get(), range(8)))) == 1


def test_a_value_that_could_not_be_made_is_tried_again():
    answers = iter([ValueError("not yet"), 7])

    def make() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    value = PerProcess(make)
    with pytest.raises(ValueError, match="not yet"):
        value.get()
    assert value.get() == 7


def test_one_thread_always_gets_the_same_worker():
    pool = WorkerPool(Worker)
    assert len({use(pool) for _ in range(10)}) == 1


def test_threads_never_share_a_worker_and_there_are_no_more_than_allowed():
    Worker.made = 0
    pool = WorkerPool(Worker, most=3)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: use(pool), range(64)))
    assert 2 <= Worker.made <= 3


def test_a_worker_that_failed_is_not_lent_again():
    pool = WorkerPool(Worker, most=1)
    with pytest.raises(KeyError), pool.borrow() as broken:
        raise KeyError
    assert use(pool) is not broken


@pytest.mark.parametrize(
    "travel", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_and_pickles_make_their_own(travel):
    pool = WorkerPool(Worker, most=1)
    mine = use(pool)
    assert use(travel(pool)) is not mine
    value = PerProcess(Worker)
    assert travel(value).get() is not value.get()


@needs_fork
def test_a_forked_process_makes_its_own():
    pool = WorkerPool(Worker, most=1)
    mine = use(pool)

    def check() -> None:
        assert use(pool) is not mine

    assert in_child(check) == 0
    assert use(pool) is mine


@needs_fork
def test_a_forked_process_waits_for_no_thread_of_its_parent():
    pool = WorkerPool(Worker, most=1)
    value = PerProcess(lambda: time.sleep(1) or 5)
    lent, done = threading.Event(), threading.Event()

    def hold() -> None:
        with pool.borrow():
            lent.set()
            done.wait()

    holder = threading.Thread(target=hold)
    maker = threading.Thread(target=value.get)
    holder.start()
    maker.start()
    lent.wait()

    def check() -> None:
        use(pool)
        assert value.get() == 5

    code = in_child(check)
    done.set()
    holder.join()
    maker.join()
    assert code == 0


def test_channels_first_are_refused(monkeypatch):
    import keras

    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(FaceAlignError, match="image_data_format is 'channels_first'.*keras.json"):
        concurrency.start_keras()
