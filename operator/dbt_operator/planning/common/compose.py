"""What the statuses of runs and backfills are put together by."""

from __future__ import annotations

from dataclasses import replace

from dbt_operator.api.kinds.backfill import DbtBackfillStatus
from dbt_operator.api.kinds.run import (
    DbtRunStatus,
)
from dbt_operator.api.status import BackfillPhase, ConditionType, Phase
from dbt_operator.planning.common.conditions import Conditions
from dbt_operator.planning.common.durations import duration, parse_time
from dbt_operator.planning.common.plan import Event, Plan


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
    conditions.progressing(phase, message)


def changed(plan: Plan, **fields: object) -> Plan:
    """A plan whose status differs in some fields."""
    return replace(plan, status=plan.status.model_copy(update=fields)) if plan.status else plan


def events(
    old: DbtRunStatus | DbtBackfillStatus, new: DbtRunStatus | DbtBackfillStatus
) -> tuple[Event, ...]:
    """What people are told when the phase has changed."""
    if new.phase in (old.phase, None, Phase.PENDING):
        return ()
    if new.phase == Phase.FAILED:
        return (Event("Warning", str(new.reason), new.message or ""),)
    return (Event("Normal", str(new.phase), new.message or ""),)
