"""Notices that the clock has been set, or that the machine stood still.

What waits for a time of the clock waits for a number of seconds, which a clock that is set makes
wrong, as a machine does that sleeps meanwhile. Looking at the clock every few seconds costs
nothing, however much waits; looking at everything that waits, every minute, would.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from dbt_operator.common.pulse import Pulse

log = structlog.get_logger()

PERIOD = 5.0  # seconds between two looks
_LARGEST = 1.0  # seconds by which the clock may be off between two looks: it is also slewed


class ClockWatch:
    """Compares the wall clock with one that nobody sets, and that stands still while the machine
    sleeps.
    """

    def __init__(
        self,
        on_step: Callable[[], None],
        pulse: Pulse,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """``on_step`` is called after each step."""
        self._on_step = on_step
        self._pulse = pulse
        self._wall = wall
        self._steady = steady
        self._offset = wall() - steady()

    def run(self, stopped: threading.Event) -> None:
        """Look until somebody says stop."""
        while not stopped.wait(PERIOD):
            self._pulse.beat("the clock")
            self.look()

    def look(self) -> None:
        """Look once."""
        before, self._offset = self._offset, self._wall() - self._steady()
        step = self._offset - before
        if abs(step) > _LARGEST:
            log.warning("the clock was set, or the machine stood still", seconds=round(step, 1))
            self._on_step()
