from __future__ import annotations

import threading

from dbt_operator.common.workqueue import FIRST_RETRY, LAST_RETRY, WorkQueue
from tests.support.kube import PATIENCE


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def drain(queue: WorkQueue[str], clock: Clock, until: float) -> list[tuple[float, str]]:
    """What comes out of the queue, and when, as time goes by in steps of half a second."""
    out = []
    while clock.now <= until:
        queue.add("tick")  # so that getting never waits; getting moves up what is due
        while len(queue):
            key = queue.get()
            assert key is not None
            queue.done(key)
            out.append((clock.now, key))
        clock.now += 0.5
    return [(when, key) for when, key in out if key != "tick"]


def test_a_key_is_queued_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for _ in range(3):
        queue.add("a")
    assert len(queue) == 1


def test_a_key_added_while_it_is_worked_on_comes_once_more_afterwards() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert queue.get() == "a"
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


def test_a_delayed_key_comes_when_it_is_due() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock)
    queue.add_after("b", 2)
    queue.add_after("a", 1)
    assert drain(queue, clock, 3) == [(1.0, "a"), (2.0, "b")]


def test_the_earliest_of_several_delays_counts() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock)
    for delay in (2, 1, 3):
        queue.add_after("a", delay)
    assert drain(queue, clock, 4) == [(1.0, "a")]


def test_a_delay_is_void_once_the_key_was_added() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock)
    queue.add_after("a", 1)
    queue.add("a")
    assert drain(queue, clock, 2) == [(0.0, "a")]


def test_retries_back_off_and_forget() -> None:
    queue: WorkQueue[str] = WorkQueue(Clock())
    delays = [queue.retry("a") for _ in range(20)]
    assert delays[:3] == [FIRST_RETRY, 2 * FIRST_RETRY, 4 * FIRST_RETRY]
    assert delays[-1] == LAST_RETRY
    queue.forget("a")
    assert queue.retry("a") == FIRST_RETRY


def test_a_waiting_worker_wakes_up_for_a_key_and_for_the_end() -> None:
    queue: WorkQueue[str] = WorkQueue()
    got: list[str | None] = []
    worker = threading.Thread(target=lambda: got.extend([queue.get(), queue.get()]))
    worker.start()
    queue.add("a")
    queue.close()
    worker.join(PATIENCE)
    assert not worker.is_alive()
    assert got in (["a", None], [None, None])


def test_no_key_is_worked_on_by_two_workers_at_a_time() -> None:
    queue: WorkQueue[int] = WorkQueue()
    lock, active, seen, overlaps = threading.Lock(), set(), [0], []
    enough = threading.Event()

    def work() -> None:
        while (key := queue.get()) is not None:
            with lock:
                overlaps.extend([key] if key in active else [])
                active.add(key)
                seen[0] += 1
                if seen[0] >= 2000:
                    enough.set()
            queue.add(key)
            with lock:
                active.discard(key)
            queue.done(key)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for key in range(3):
        queue.add(key)
    assert enough.wait(PATIENCE)
    queue.close()
    for worker in workers:
        worker.join(PATIENCE)
    assert overlaps == []
