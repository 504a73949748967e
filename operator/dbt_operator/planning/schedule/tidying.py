"""Which runs that have ended are deleted: ``history``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from dbt_operator.api.kinds.schedule import KEPT, History
from dbt_operator.api.registry import RUN
from dbt_operator.api.status import Phase
from dbt_operator.planning.common.durations import parse_time, seconds
from dbt_operator.planning.common.plan import DeleteRun

_WELL = (Phase.SUCCEEDED, Phase.SKIPPED)


@dataclass(frozen=True)
class EndedRun:
    """A run of a schedule that has ended."""

    name: str
    uid: str
    phase: str
    finished_at: str
    kind: str = RUN.kind
    notifies: bool = False  # somebody is still to be told of it


def find_superfluous(
    ended: Sequence[EndedRun], history: History | None, now: datetime
) -> tuple[DeleteRun, ...]:
    """Delete all but the latest of those that ended alike, and what is older than ``ttl``; never
    the last one that succeeded, nor the last that ended.
    """
    history = history or History()
    latest = sorted(ended, key=lambda run: (run.finished_at, run.name), reverse=True)
    well = [run for run in latest if run.phase in _WELL]
    badly = [run for run in latest if run.phase not in _WELL]
    succeeded = [run for run in latest if run.phase == Phase.SUCCEEDED]
    told_soon = [run for run in latest if run.notifies]
    spared = {run.uid for run in (*latest[:1], *succeeded[:1], *told_soon)}
    superfluous = [
        *well[_count(history.succeeded) :],
        *badly[_count(history.failed) :],
        *_find_older(latest, history.ttl, now),
    ]
    return tuple(
        DeleteRun(run.name, run.uid, run.kind)
        for run in dict.fromkeys(superfluous)
        if run.uid not in spared
    )


def find_next_expiry(
    ended: Sequence[EndedRun], history: History | None, now: datetime
) -> float | None:
    """The seconds after which the next one will be older than ``ttl``."""
    if history is None or history.ttl is None:
        return None
    limit = timedelta(seconds=seconds(history.ttl))
    ends = [parse_time(run.finished_at) for run in ended if run.finished_at]
    left = [(end + limit - now).total_seconds() for end in ends]
    return min((each for each in left if each > 0), default=None)


def _count(number: int | None) -> int:
    return KEPT if number is None else number


def _find_older(runs: Sequence[EndedRun], ttl: str | None, now: datetime) -> Iterator[EndedRun]:
    if ttl is not None:
        limit = now - timedelta(seconds=seconds(ttl))
        yield from (run for run in runs if run.finished_at and parse_time(run.finished_at) <= limit)
