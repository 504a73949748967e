"""How far a run is: when to look, and what status says of it.

A look is a request to a kubelet, and what it finds is a write. So looks become rarer as an attempt
gets older: a short run is looked at two or three times, one of an hour about seventy times. When
they are due is a function of the time since dbt's start alone. So however often a run is reconciled
for other causes, and wherever an operator left off, the next look is known and is never lost.
"""

from __future__ import annotations

from dbt_operator.api.kinds.run import DbtRun, DbtRunStatus, NodeCounts, RunProgress
from dbt_operator.planning.attempt.pod_facts import PodFacts
from dbt_protocol.summaries import Progress

FIRST = 3.0  # seconds after dbt's start, and the shortest time between two looks
LONGEST = 60.0  # seconds between two looks
LONGEST_OF_WINDOWS = 10.0  # the same where others may wait for the end of a window


def longest(run: DbtRun) -> float:
    """The longest time between two looks at a run, in seconds."""
    return LONGEST_OF_WINDOWS if run.spec.windows else LONGEST


def looks(elapsed: float, longest: float = LONGEST) -> tuple[int, float]:
    """How many looks have been due since dbt's start, and in how many seconds the next one is.

    Each wait is half of the time that has passed by then, within FIRST and ``longest``.
    """
    number, due = 0, FIRST
    while due <= elapsed:
        wait = min(max(FIRST, due / 2), longest)
        skipped = (
            int((elapsed - due) // longest) if wait == longest else 0
        )  # a run may last for days
        number += 1 + skipped
        due += wait * (1 + skipped)
    return number, due - elapsed


def can_be_seen(status: DbtRunStatus, pod: PodFacts | None) -> bool:
    """Whether dbt is at work and there is a log to read of."""
    return (
        status.cancel_requested_at is None
        and pod is not None
        and not (pod.gone or pod.deleting)
        and bool(pod.dbt.started_at)
        and not pod.dbt.ended
    )


def shown(progress: Progress | None) -> dict[str, object]:
    """What of a status tells of the progress; nothing, hence as it was, where none is known."""
    if progress is None:
        return {}
    counts = NodeCounts(total=progress.total, done=f"{progress.done}/{progress.total}")
    return {
        "progress": RunProgress(
            done=progress.done, total=progress.total, running=list(progress.running)
        ),
        "nodes": counts,
    }
