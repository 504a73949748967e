"""For how long somebody has waited in the queue of a target."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from dbt_operator.api.parts.queueing import Queue
from dbt_operator.api.status import BackfillPhase, Phase
from dbt_operator.planning.common.durations import parse_time


class Waiting(Protocol):
    """A status that tells of a queue."""

    @property
    def queue(self) -> Queue | None:
        """Where it stands."""

    @property
    def queued_seconds(self) -> int | None:
        """How long it has waited before."""


def waited(status: Waiting, now: datetime) -> int:
    """For how many seconds a run has been queued, all times added up."""
    since = (now - parse_time(status.queue.since)).total_seconds() if status.queue else 0
    return (status.queued_seconds or 0) + max(0, round(since))


def left_queue(status: Waiting, phase: Phase | BackfillPhase, now: datetime) -> dict[str, object]:
    """How long somebody has waited, once that is over."""
    if status.queue is None or phase == Phase.QUEUED:
        return {}
    return {"queue": None, "queued_seconds": waited(status, now)}
