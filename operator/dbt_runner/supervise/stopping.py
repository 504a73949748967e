"""How a run, or the window at work, is brought to an early end."""

from __future__ import annotations

import signal

from dbt_protocol.plans import RunPlan
from dbt_runner.deadline import Deadline
from dbt_runner.supervise.child import Child
from dbt_runner.supervise.os_signals import Signals
from dbt_runner.supervise.output import Output


class Stop:
    """Ends dbt when a signal asks for it or its time is over.

    dbt gets one SIGINT, upon which it cancels its queries and writes the results that it has. After
    the grace period everything of dbt is killed.
    """

    def __init__(self, plan: RunPlan, signals: Signals, output: Output) -> None:
        self.reason = ""  # Timeout or Cancelled, once it has begun
        self._signals = signals
        self._output = output
        self._grace_seconds = plan.grace_seconds
        self._timeout = Deadline(plan.timeout_seconds)
        self._kill = Deadline(None)  # when the grace period is over
        self._has_killed = False

    def act_if_due(self, child: Child | None) -> None:
        """Interrupt dbt once, and kill it when it has not ended in time."""
        if not self.reason and (self._signals.stop or self._timeout.passed):
            self._interrupt(child)
        elif self._kill.passed and not self._has_killed:
            self._has_killed = True
            self._output.say(
                "dbt did not end in time: killing it; what it has sent may go on in the warehouse"
            )
            if child:
                child.send_signal(signal.SIGKILL)

    def _interrupt(self, child: Child | None) -> None:
        self.reason = "Cancelled" if self._signals.stop else "Timeout"
        self._kill = Deadline(self._grace_seconds)
        grace = f"{self._grace_seconds:g} s"
        self._output.say(
            f"{self.reason}: interrupting dbt, which has {grace} to cancel its queries"
        )
        if child:
            child.send_signal(signal.SIGINT)

    def seconds_left(self) -> float | None:
        """Seconds until there is something to do; None if there will be nothing."""
        if self._has_killed:
            return None
        return self._kill.remaining() if self.reason else self._timeout.remaining()
