"""Puts into the status of a run or a backfill whom its end is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dbt_operator.api.kinds.backfill import DbtBackfillStatus
from dbt_operator.api.kinds.run import DbtRunStatus
from dbt_operator.api.status import BackfillPhase, Phase
from dbt_operator.planning.common.conditions import Conditions
from dbt_operator.planning.common.identity import Identity
from dbt_operator.planning.common.plan import Plan
from dbt_operator.planning.common.record import Record
from dbt_operator.planning.notifying.deciding import End, Listeners, decide, set_notified


def tell_end(
    found: Plan, identity: Identity, listeners: Listeners, record: Record | None, now: datetime
) -> Plan:
    """A plan that ends a run or a backfill, with whom that is told.

    Args:
        found: the plan.
        identity: of the object.
        listeners: who wants to be told, and may be.
        record: what the schedule that it is of knows of it.
        now: the time.
    """
    status = found.status
    if not isinstance(status, DbtRunStatus | DbtBackfillStatus):
        return found
    series = record.series if record else ()
    messages = decide(describe_end(identity.uid, status), listeners, series, now)
    if not messages:
        return found
    conditions = Conditions.of(status.conditions, identity.generation, now)
    set_notified(conditions, messages)
    told = {"notifications": messages, "conditions": conditions.list()}
    return replace(found, status=status.model_copy(update=told))


def describe_end(uid: str, status: DbtRunStatus | DbtBackfillStatus) -> End:
    """How a run or a backfill has ended, as far as it matters who is told."""
    if isinstance(status, DbtBackfillStatus):
        return End(
            uid,
            failed=status.phase is BackfillPhase.FAILED,
            succeeded=status.phase is BackfillPhase.SUCCEEDED,
            reason=status.reason,
        )
    return End(
        uid,
        failed=status.phase is Phase.FAILED,
        succeeded=status.phase is Phase.SUCCEEDED,
        reason=status.reason,
        marks=(status.details.failed_marks or "") if status.details else "",
        warned=bool(status.nodes and status.nodes.warn),
    )
