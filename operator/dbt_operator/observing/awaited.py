"""Reads what is known of the things that a run waits for. A success is read of objects as they are;
what is not known is asked for live.
"""

from __future__ import annotations

from dbt_operator.api.kinds.run import DbtRun, DbtRunSpec, DbtRunStatus
from dbt_operator.api.kinds.schedule import DbtSchedule, DbtScheduleStatus
from dbt_operator.api.parts.upstreams import AwaitedJob, AwaitedObject, Upstream, Wait
from dbt_operator.cluster.errors import InvalidError
from dbt_operator.observing.reader import Reader
from dbt_operator.planning.common.names import format_labels
from dbt_operator.planning.common.reading import UnreadableError, read_part
from dbt_operator.planning.run.successes import (
    UpstreamFacts,
    read_jobs,
    read_object,
    read_run,
    read_schedule,
)

_ABSENT = UpstreamFacts(said="it does not exist yet")


def look_at_upstreams(
    reader: Reader, namespace: str, spec: DbtRunSpec, wait: Wait | None
) -> tuple[UpstreamFacts, ...]:
    """How everything stands that a run waits for, in that order. What has been seen to succeed is
    not looked at again.
    """
    seen = [each.completed_at is not None for each in wait.upstreams] if wait else []
    return tuple(
        UpstreamFacts()
        if number < len(seen) and seen[number]
        else _look(reader, namespace, upstream)
        for number, upstream in enumerate(spec.wait_for or ())
    )


def _look(reader: Reader, namespace: str, upstream: Upstream) -> UpstreamFacts:
    try:
        if upstream.job is not None:
            return _look_at_jobs(reader, namespace, upstream.job)
        if upstream.object is not None:
            return _look_at_object(reader, namespace, upstream.object)
        if upstream.schedule is not None:
            return _look_at_schedule(reader, namespace, upstream.schedule.name)
        return _look_at_run(reader, namespace, upstream.run.name) if upstream.run else _ABSENT
    except UnreadableError as error:
        return UpstreamFacts(said=f"it cannot be read: {error.why}")
    except InvalidError as error:
        return UpstreamFacts(said=f"the API server refuses to tell of it: {error}")


def _look_at_jobs(reader: Reader, namespace: str, wanted: AwaitedJob) -> UpstreamFacts:
    if wanted.selector is not None:
        labels = format_labels(wanted.selector.match_labels)
        return read_jobs(reader.cluster.jobs_with_labels(namespace, labels))
    job = reader.cluster.get_job(namespace, wanted.name or "")
    return read_jobs([job]) if job is not None else _ABSENT


def _look_at_object(reader: Reader, namespace: str, wanted: AwaitedObject) -> UpstreamFacts:
    kind = reader.cluster.find_awaited_kind(wanted.api_group, wanted.kind)
    if kind is None:
        where = f"{wanted.kind} of {wanted.api_group}"
        return UpstreamFacts(said=f"the operator's chart does not list {where} in waitFor.kinds")
    found = reader.cluster.get_awaited(kind, namespace, wanted.name)
    return read_object(kind, found) if found is not None else _ABSENT


def _look_at_run(reader: Reader, namespace: str, name: str) -> UpstreamFacts:
    manifest = reader.whole("DbtRun", namespace, name)
    if manifest is None:
        return _ABSENT
    status = read_part(DbtRun, manifest, "status") or DbtRunStatus()
    return read_run(name, manifest["metadata"]["creationTimestamp"], status)


def _look_at_schedule(reader: Reader, namespace: str, name: str) -> UpstreamFacts:
    manifest = reader.whole("DbtSchedule", namespace, name)
    if manifest is None:
        return _ABSENT
    return read_schedule(read_part(DbtSchedule, manifest, "status") or DbtScheduleStatus())
