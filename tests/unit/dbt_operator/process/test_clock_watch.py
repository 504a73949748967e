"""A clock that is set wakes everything that waits for a time."""

from __future__ import annotations

import pytest

from dbt_operator.common.workqueue import WorkQueue
from dbt_operator.process.clock_watch import ClockWatch
from dbt_operator.process.health import Health


class Clocks:
    """Both clocks, and a queue in which something waits for an hour."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_000_000.0, 5_000.0
        self.queue: WorkQueue[str] = WorkQueue(lambda: self.steady)
        self.queue.add_after("schedule", 3600)
        pulse = Health().pulse("clock", 60)
        self.watch = ClockWatch(self.queue.hasten, pulse, lambda: self.wall, lambda: self.steady)

    def pass_by(self, seconds: float, step: float = 0.0) -> int:
        """Let time pass and the clock be set; how many are worked on."""
        self.steady += seconds
        self.wall += seconds + step
        self.watch.look()
        return len(self.queue)


@pytest.mark.parametrize("step", [3600.0, -3600.0, 2.0])
def test_what_waits_is_looked_at_once_the_clock_is_set(step: float) -> None:
    clocks = Clocks()
    assert clocks.pass_by(5) == 0
    assert clocks.pass_by(5, step) == 1
    assert clocks.queue.get() == "schedule"
    assert clocks.pass_by(5) == 0, "a step is told once"


def test_a_clock_that_is_slewed_wakes_nobody() -> None:
    clocks = Clocks()
    assert [clocks.pass_by(5, 0.0025) for _ in range(600)] == [0] * 600


def test_what_is_hastened_comes_once() -> None:
    clocks = Clocks()
    clocks.queue.hasten()
    assert clocks.queue.get() == "schedule"
    clocks.queue.done("schedule")
    clocks.steady += 7200
    clocks.queue.add("other")
    assert clocks.queue.get() == "other"
    assert len(clocks.queue) == 0
