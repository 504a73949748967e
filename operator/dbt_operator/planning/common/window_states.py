"""How windows stand, counted."""

from __future__ import annotations

from dbt_operator.api.parts.windows import WindowCounts
from dbt_protocol.window_codes import PENDING, RUNNING, SKIPPED, SUCCEEDED, reason_of

DONE = (SUCCEEDED, SKIPPED)


def counts(states: str) -> WindowCounts:
    """How many stand how."""
    failed = sum(1 for code in states if reason_of(code))
    pending, running = states.count(PENDING), states.count(RUNNING)
    return WindowCounts(
        total=len(states),
        pending=pending,
        running=running,
        succeeded=states.count(SUCCEEDED),
        failed=failed,
        skipped=states.count(SKIPPED),
        done=f"{len(states) - pending - running}/{len(states)}",
        states=states,
    )
