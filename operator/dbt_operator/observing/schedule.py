"""Reads all that is known of a schedule when a decision is due."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dbt_operator.api.kinds.schedule import DbtSchedule, DbtScheduleStatus
from dbt_operator.api.registry import RUN
from dbt_operator.observing.reader import Reader, identity_of
from dbt_operator.planning.common.reading import read
from dbt_operator.planning.common.strays import find_strays
from dbt_operator.planning.schedule.facts import ScheduleFacts
from dbt_operator.planning.schedule.runs import ScheduledRun, read_run
from dbt_operator.planning.schedule.tidying import EndedRun

Manifest = Mapping[str, Any]


def observe(reader: Reader, manifest: Manifest) -> ScheduleFacts:
    """Everything about a schedule."""
    schedule, identity = read(DbtSchedule, manifest), identity_of(manifest)
    status = schedule.status or DbtScheduleStatus()
    return ScheduleFacts(
        schedule,
        identity,
        runs=_find_runs(reader, identity.namespace, status),
        strays=find_strays(reader.store.unfinished_children(identity.uid), status.active or ()),
        ended=tuple(_read_ended(run) for run in reader.store.ended_children(identity.uid)),
    )


def _read_ended(run: Manifest) -> EndedRun:
    metadata, status = run["metadata"], run["status"]
    return EndedRun(
        metadata["name"],
        metadata["uid"],
        status["phase"],
        status.get("finishedAt") or "",
        run["kind"],
    )


def _find_runs(
    reader: Reader, namespace: str, status: DbtScheduleStatus
) -> dict[str, ScheduledRun]:
    """The runs that have not ended, as far as the schedule knows. Absence is confirmed live, and of
    one that has ended all is asked for.
    """
    found = {
        run.name: reader.whole(run.kind or RUN.kind, namespace, run.name)
        for run in status.active or ()
    }
    return {name: read_run(manifest) for name, manifest in found.items() if manifest is not None}
