"""What is known of something that a run waits for: its successes, and what is said of it where it
has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dbt_operator.api.kinds.run import DbtRunStatus
from dbt_operator.api.kinds.schedule import DbtScheduleStatus
from dbt_operator.api.status import Phase
from dbt_operator.common.awaited_kinds import AwaitedKind
from dbt_operator.planning.common.durations import parse_time
from dbt_operator.planning.common.names import CRON_JOB_TIME

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Success:
    """Something that is waited for has succeeded."""

    by: str  # name of the Job or DbtRun
    completed_at: datetime
    began_at: datetime | None  # None: nobody knows any more


@dataclass(frozen=True)
class UpstreamFacts:
    """What is known of something that is waited for, as of now."""

    successes: tuple[Success, ...] = ()
    said: str = ""  # of one that has not succeeded


def read_jobs(jobs: Iterable[Manifest]) -> UpstreamFacts:
    """What is known of Jobs, each of which would do."""
    successes: list[Success] = []
    said: list[str] = []
    for job in sorted(jobs, key=lambda each: str(each["metadata"]["creationTimestamp"])):
        name = job["metadata"]["name"]
        conditions = _read_conditions(job)
        if complete := conditions.get("Complete"):
            completed = job["status"].get("completionTime") or complete["lastTransitionTime"]
            successes.append(Success(name, parse_time(completed), _find_beginning(job)))
        elif failed := conditions.get("Failed"):
            said.append(f"Job {name} has failed: {failed.get('reason') or 'nothing says why'}")
        else:
            said.append(f"Job {name} has not completed")
    return UpstreamFacts(tuple(successes), said[-1] if said else "there is none yet")


def _read_conditions(job: Manifest) -> dict[str, Manifest]:
    """Those that hold, by their types."""
    status = job.get("status")
    found = status.get("conditions") if isinstance(status, Mapping) else None
    listed = found if isinstance(found, list) else []
    conditions = [each for each in listed if isinstance(each, Mapping)]
    return {str(each.get("type")): each for each in conditions if each.get("status") == "True"}


def _find_beginning(job: Manifest) -> datetime:
    """When a Job was created or, for a CronJob, was due: that one may create it late."""
    metadata = job["metadata"]
    created_at = parse_time(metadata["creationTimestamp"])
    owners: Iterable[Manifest] = metadata.get("ownerReferences") or ()
    due = (metadata.get("annotations") or {}).get(CRON_JOB_TIME)
    if due is None or not any(o.get("controller") and o["kind"] == "CronJob" for o in owners):
        return created_at
    try:
        return parse_time(due).astimezone(created_at.tzinfo)
    except ValueError:
        return created_at


def read_run(name: str, created_at: str, status: DbtRunStatus) -> UpstreamFacts:
    """What is known of a run."""
    if status.phase is Phase.SUCCEEDED and status.finished_at:
        success = Success(name, parse_time(status.finished_at), parse_time(created_at))
        return UpstreamFacts((success,))
    if status.phase is not None and status.phase.finished:
        why = f"{status.phase}, {status.reason}" if status.reason else str(status.phase)
        return UpstreamFacts(said=f"it has ended as {why}")
    return UpstreamFacts(said="it has not ended")


def read_object(kind: AwaitedKind, manifest: Manifest) -> UpstreamFacts:
    """What is known of an object of somebody else's kind. It tells what it wants to, so whatever is
    not as the chart says it should be is no success.
    """
    completed = _find_completion(kind, manifest)
    metadata = manifest["metadata"]
    if isinstance(completed, str):
        return UpstreamFacts(said=completed)
    success = Success(metadata["name"], completed, parse_time(metadata["creationTimestamp"]))
    return UpstreamFacts((success,))


def _find_completion(kind: AwaitedKind, manifest: Manifest) -> datetime | str:
    """When it was completed; or what is said of one that was not."""
    if kind.condition:
        found = _read_conditions(manifest).get(kind.condition)
        if found is None:
            return f"its condition {kind.condition} is not True"
        text = _get(manifest, kind.completed_at) if kind.completed_at else None
        text = text or found.get("lastTransitionTime")
    else:
        value = _get(manifest, kind.field)
        if value not in kind.values:
            return f"its {kind.field} is {value}" if value else f"it has no {kind.field} yet"
        text = _get(manifest, kind.completed_at)
    try:
        moment = parse_time(str(text))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        return "it has succeeded, and does not tell when"
    return moment


def _get(manifest: Manifest, path: str) -> str | None:
    """A text in a manifest, by a path such as status.phase."""
    found: Any = manifest
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else None


def read_schedule(status: DbtScheduleStatus) -> UpstreamFacts:
    """What is known of a schedule. The last success is told even if the history has forgotten of
    which occurrence it was.
    """
    successes = [
        Success(past.run, parse_time(past.finished_at), parse_time(past.occurrence))
        for past in status.history or ()
        if past.phase == "Succeeded" and past.run and past.finished_at
    ]
    last = parse_time(status.last_success_time) if status.last_success_time else None
    if last is not None and all(success.completed_at < last for success in successes):
        successes.append(Success("", last, None))
    return UpstreamFacts(tuple(successes), "none of its runs has succeeded yet")
