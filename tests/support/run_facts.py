"""Facts of a run, as its planner gets them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar

from dbt_operator.api.kinds.project import DbtProject
from dbt_operator.api.kinds.run import DbtRun, DbtRunStatus
from dbt_operator.api.kinds.target import DbtTarget
from dbt_operator.planning.attempt.pod_facts import AttemptFacts, ContainerFacts, JobFacts, PodFacts
from dbt_operator.planning.common.identity import Identity
from dbt_operator.planning.common.plan import Plan
from dbt_operator.planning.common.references import References
from dbt_operator.planning.queueing.positions import Slot
from dbt_operator.planning.run.facts import RunFacts
from dbt_operator.planning.run.planner import plan
from tests.support.builders import (
    JOB_UID,
    NOW,
    UID,
    later,
    project,
    run,
    stamp,
    target,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

IDENTITY = Identity("analytics", "nightly", UID, 1)
HELD = Slot(since="2026-01-02T03:04:05.000000Z")


# Which fields of a run's facts stand in which group: tests name the fields alone.
GROUPS = {
    "references": {field.name for field in dataclasses.fields(References)},
    "attempt": {field.name for field in dataclasses.fields(AttemptFacts)},
}

Record = TypeVar("Record", bound="DataclassInstance")


def replace(known: Record, /, **fields: Any) -> Record:
    """As that of dataclasses; of a run's facts, fields of its groups too."""
    if isinstance(known, RunFacts):
        for group, names in GROUPS.items():
            inner = {name: fields.pop(name) for name in names & fields.keys()}
            if inner:
                fields[group] = dataclasses.replace(getattr(known, group), **inner)
    return dataclasses.replace(known, **fields)


def seen(
    manifest: dict[str, Any] | None = None, *, identity: Identity = IDENTITY, **facts: Any
) -> RunFacts:
    bare = RunFacts(
        run=DbtRun.model_validate(manifest or run()),
        identity=identity,
        created_at=NOW,
        runner_image="runner:1",
    )
    return replace(bare, **{"slot": HELD, **facts})


def references() -> dict[str, Any]:
    return {
        "project": (DbtProject.model_validate(project()), 7),
        "target": (DbtTarget.model_validate(target()), 8),
    }


def admitted(**spec: Any) -> RunFacts:
    """A run after its admission, as it stands in status."""
    first = seen(run(**spec), **references())
    return planned_after(first, plan(first, NOW))


def planned_after(before: RunFacts, planned: Plan) -> RunFacts:
    assert isinstance(planned.status, DbtRunStatus)
    return replace(
        before,
        run=before.run.model_copy(update={"status": planned.status}),
        project=None,
        target=None,
    )


def job(uid: str = JOB_UID, owner: str = UID, **fields: Any) -> JobFacts:
    return JobFacts(uid, owner, NOW, **fields)


def status(planned: Plan) -> DbtRunStatus:
    assert isinstance(planned.status, DbtRunStatus)
    return planned.status


def conditions(found: DbtRunStatus) -> dict[str, str]:
    return {condition.type: condition.status for condition in found.conditions or []}


def cancelling(before: RunFacts) -> RunFacts:
    """A run whose cancellation is latched."""
    spec = before.run.spec.model_copy(update={"cancel": True})
    asked = replace(before, run=before.run.model_copy(update={"spec": spec}))
    return planned_after(asked, plan(asked, later(10)))


RUNNING = PodFacts(uid="pod", name="pod", phase="Running", dbt=ContainerFacts(started_at=stamp(5)))
