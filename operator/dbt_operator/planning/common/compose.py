"""What the statuses of runs and backfills are put together by."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Protocol

from dbt_operator.api.kinds.backfill import DbtBackfillStatus
from dbt_operator.api.kinds.run import DbtRunStatus
from dbt_operator.api.status import BackfillPhase, ConditionType, Phase
from dbt_operator.planning.common.conditions import Conditions
from dbt_operator.planning.common.durations import duration, parse_time
from dbt_operator.planning.common.identity import Identity
from dbt_operator.planning.common.plan import Event, Plan
from dbt_operator.planning.common.queue_time import left_queue

Status = DbtRunStatus | DbtBackfillStatus


class Known(Protocol):
    """What is known of a run or a backfill."""

    @property
    def identity(self) -> Identity:
        """Which one it is."""

    @property
    def status(self) -> Status:
        """Its status as it stands."""


def conditions_of(facts: Known, now: datetime) -> Conditions:
    """Its conditions, to be changed."""
    return Conditions.of(facts.status.conditions, facts.identity.generation, now)


def compose(
    facts: Known,
    conditions: Conditions,
    phase: Phase | BackfillPhase,
    message: str,
    **fields: object,
) -> Plan:
    """The status as it is, with what has changed; and an event if the phase has."""
    if not phase.finished:
        under_way(conditions, phase, message)
    update = {
        "phase": phase,
        "message": message,
        "observed_generation": facts.identity.generation,
        "conditions": conditions.list(),
        **left_queue(facts.status, phase, conditions.now),
        **fields,
    }
    status = facts.status.model_copy(update=update)
    return Plan(status=status, events=events(facts.status, status))


def elapsed(started_at: str | None, ended_at: str) -> str | None:
    """The time between two moments as people read it; None if there was no beginning."""
    return (
        duration((parse_time(ended_at) - parse_time(started_at)).total_seconds())
        if started_at
        else None
    )


def under_way(conditions: Conditions, phase: Phase | BackfillPhase, message: str) -> None:
    """The conditions of what has not ended."""
    conditions.set(ConditionType.FINISHED, "False", phase)
    conditions.set(ConditionType.SUCCEEDED, "Unknown", phase)
    if phase is BackfillPhase.SUSPENDED:
        # It is what it was asked to be: nobody who has applied it has to wait.
        conditions.ready(phase, message)
    else:
        conditions.progressing(phase, message)


def see_edit(facts: Known, plan: Plan) -> Plan:
    """A plan for what has ended, which also says that an edit has been seen. It changes nothing any
    more, but as long as it is not seen the object counts as being worked on.
    """
    if plan.actions or facts.status.observed_generation == facts.identity.generation:
        return plan
    status = plan.status or facts.status
    seen = status.model_copy(update={"observed_generation": facts.identity.generation})
    return replace(plan, status=seen)


def changed(plan: Plan, **fields: object) -> Plan:
    """A plan whose status differs in some fields."""
    return replace(plan, status=plan.status.model_copy(update=fields)) if plan.status else plan


def events(old: Status, new: Status) -> tuple[Event, ...]:
    """What people are told when the phase has changed."""
    if new.phase in (old.phase, None, Phase.PENDING):
        return ()
    if new.phase == Phase.FAILED:
        return (Event("Warning", str(new.reason), new.message or ""),)
    return (Event("Normal", str(new.phase), new.message or ""),)
