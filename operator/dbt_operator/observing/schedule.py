"""Reads all that is known of a schedule when a decision is due."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from dbt_operator.api.kinds.schedule import (
    DbtSchedule,
    DbtScheduleSpec,
    DbtScheduleStatus,
    Success,
    Trigger,
)
from dbt_operator.api.parts.run_template import RunTemplateSpec
from dbt_operator.api.registry import RUN, SCHEDULE
from dbt_operator.cluster.errors import InvalidError
from dbt_operator.cluster.projection import is_notifying
from dbt_operator.cluster.store import Store
from dbt_operator.observing.reader import Reader, identity_of
from dbt_operator.planning.common.manifests import find_upstreams
from dbt_operator.planning.common.names import format_labels
from dbt_operator.planning.common.reading import read
from dbt_operator.planning.common.strays import find_strays
from dbt_operator.planning.notifying.deciding import Listeners
from dbt_operator.planning.schedule.facts import ScheduleFacts
from dbt_operator.planning.schedule.runs import ScheduledRun, read_run
from dbt_operator.planning.schedule.signals import Signal, find_last_job, name_trigger
from dbt_operator.planning.schedule.tidying import EndedRun

log = structlog.get_logger()

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
        signals=tuple(
            _read_signal(reader, identity.namespace, trigger)
            for trigger in schedule.spec.triggers or ()
        ),
        clock_offset=reader.cluster.clock_offset,
        listeners=_find_listeners(reader, identity.namespace, schedule.spec),
        cycle=_find_cycle(reader.store, identity.namespace, identity.name),
    )


def _find_listeners(reader: Reader, namespace: str, spec: DbtScheduleSpec) -> Listeners:
    """Who is to be told of what only the schedule knows."""
    chosen = [spec.notify]
    run: RunTemplateSpec | None = spec.run_template.spec if spec.run_template else None
    if spec.backfill_template is not None:
        chosen.append(spec.backfill_template.spec.notify)
        run = spec.backfill_template.spec.run_template.spec
    if run is None:
        return Listeners()  # the schema refuses that
    chosen.append(run.notify)
    first = next((each for each in chosen if each is not None), None)
    return reader.find_listeners(first, run.project_ref.name, namespace)


def _read_signal(reader: Reader, namespace: str, trigger: Trigger) -> Signal:
    """What is known of a trigger. What cannot be read of another schedule is its own trouble."""
    name = name_trigger(trigger)
    if trigger.after_job is not None:
        labels = format_labels(trigger.after_job.selector.match_labels)
        return _read_signal_of_jobs(reader, namespace, name, labels)
    other = reader.whole(
        SCHEDULE.kind, namespace, trigger.after_schedule.name if trigger.after_schedule else ""
    )
    if other is None:
        return Signal(name, is_missing=True)
    at = other.get("status", {}).get("lastSuccessTime")
    success = Success(uid=other["metadata"]["uid"], completion_time=at) if at else None
    return Signal(name, success)


def _read_signal_of_jobs(reader: Reader, namespace: str, name: str, labels: str) -> Signal:
    """What is known of Jobs. Where it is refused to tell, the clock of the schedule goes on."""
    try:
        return Signal(name, find_last_job(reader.cluster.jobs_with_labels(namespace, labels)))
    except InvalidError as error:
        log.warning("cannot look at Jobs", namespace=namespace, labels=labels, error=str(error))
        return Signal(name)


def _find_cycle(store: Store, namespace: str, name: str) -> str:
    """How a schedule is triggered by itself, through others; empty if it is not."""
    ways: list[tuple[str, ...]] = [(name,)]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        manifest = store.get(SCHEDULE.kind, namespace, way[-1])
        for before in find_upstreams(manifest) if manifest else ():
            if before == name:
                return " after ".join((*way, before))
            if before not in seen:
                seen.add(before)
                ways.append((*way, before))
    return ""


def _read_ended(run: Manifest) -> EndedRun:
    metadata, status = run["metadata"], run["status"]
    return EndedRun(
        metadata["name"],
        metadata["uid"],
        status["phase"],
        status.get("finishedAt") or "",
        run["kind"],
        notifies=is_notifying(run),
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
