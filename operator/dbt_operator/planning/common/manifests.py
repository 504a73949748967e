"""What can be read of a manifest without its model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from dbt_operator.api.base import Model
from dbt_operator.api.registry import BACKFILL, BY_NAME, RUN, SCHEDULE, Kind

Manifest = Mapping[str, Any]

JOB = "Job"


def controller_uid(manifest: Manifest) -> str:
    """The UID of the object that an object belongs to; empty when it belongs to none."""
    owners: Iterable[Manifest] = manifest["metadata"].get("ownerReferences") or ()
    return next((str(owner["uid"]) for owner in owners if owner.get("controller")), "")


def work(manifest: Manifest) -> Manifest:
    """The spec of what is run: that of a run, or the one in the template of a backfill.

    Items of a list do not say of what kind they are; what the store keeps does.
    """
    return BY_NAME[manifest["kind"]].work_of(manifest)


def find_awaited(manifest: Manifest) -> set[tuple[str, str]]:
    """Kind and name of what a run waits for before it begins, or of what a schedule follows on; of
    Jobs that it knows by their labels no name.
    """
    if BY_NAME[manifest["kind"]].has_triggers:
        after_jobs = {(JOB, "")} if find_selectors(manifest) else set()
        return after_jobs | {(SCHEDULE.kind, name) for name in find_upstreams(manifest)}
    if (manifest.get("status", {}).get("wait") or {}).get("endedAt"):
        return set()
    found = set()
    for upstream in work(manifest).get("waitFor") or ():
        if "job" in upstream:
            found.add((JOB, upstream["job"].get("name", "")))
        elif "schedule" in upstream:
            found.add((SCHEDULE.kind, upstream["schedule"]["name"]))
        elif "run" in upstream:
            found.add((RUN.kind, upstream["run"]["name"]))
    return found


def find_selectors(manifest: Manifest) -> list[Manifest]:
    """The labels of the Jobs that a run waits for, or a schedule follows on."""
    if BY_NAME[manifest["kind"]].has_triggers:
        triggers: Iterable[Manifest] = manifest["spec"].get("triggers") or ()
        jobs = [trigger.get("afterJob") for trigger in triggers]
    else:
        jobs = [upstream.get("job") for upstream in work(manifest).get("waitFor") or ()]
    selectors = [job.get("selector") for job in jobs if job]
    return [selector["matchLabels"] for selector in selectors if selector]


def parent_of(run: Manifest) -> tuple[str, str] | None:
    """Name and UID of the backfill that a run says it is part of. It proves nothing: see the
    backfill's ledger.
    """
    return _find_owner(run, BACKFILL)


def schedule_of(run: Manifest) -> tuple[str, str] | None:
    """Name and UID of the schedule that a run says it is of. It proves nothing: see the schedule's
    status.
    """
    return _find_owner(run, SCHEDULE)


def find_upstreams(schedule: Manifest) -> tuple[str, ...]:
    """The names of the schedules that a schedule follows on."""
    triggers: Iterable[Manifest] = schedule["spec"].get("triggers") or ()
    after = (trigger.get("afterSchedule") or {} for trigger in triggers)
    return tuple(each["name"] for each in after if "name" in each)


def _find_owner(manifest: Manifest, kind: Kind) -> tuple[str, str] | None:
    owners: Iterable[Manifest] = manifest["metadata"].get("ownerReferences") or ()
    found = next(
        (each for each in owners if each.get("controller") and each["kind"] == kind.kind),
        None,
    )
    return (found["name"], found["uid"]) if found else None


def comparable(kind: str, spec: Manifest) -> Model | None:
    """A spec of a run or backfill as it is compared with another one; None where it cannot be read,
    which none of ours is.

    As its model, since what an API server prunes or writes otherwise means the same; and without
    what may be changed.
    """
    fields = BY_NAME[kind]
    changeable = fields.mutable or ()
    fixed = {name: value for name, value in spec.items() if name not in changeable}
    try:
        return fields.spec_model.model_validate(fixed)
    except ValidationError:
        return None
