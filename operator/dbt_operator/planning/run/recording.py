"""A run that says it is somebody's waits until that one's status knows its UID."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dbt_operator.api.status import ConditionType, Phase, Reason
from dbt_operator.planning.attempt.verdict import Verdict
from dbt_operator.planning.common.compose import conditions_of
from dbt_operator.planning.common.plan import LOOK_AGAIN, Plan
from dbt_operator.planning.common.record import Record
from dbt_operator.planning.common.unrecorded import find_unrecorded
from dbt_operator.planning.run.admission import find_start_timeout
from dbt_operator.planning.run.facts import RunFacts
from dbt_operator.planning.run.status import compose


def wait_for_record(facts: RunFacts, record: Record, now: datetime) -> Plan | Verdict | None:
    """Wait until the owner's status knows the run; the verdict on one that it never will know; None
    where it does.
    """
    limit = find_start_timeout(facts.run.spec)
    found = find_unrecorded(record, facts.status.conditions, facts.created_at, limit, now)
    if found is None:
        return None
    if found.is_over:
        return Verdict(Reason.INVALID_SPEC, found.message)
    conditions = conditions_of(facts, now)
    conditions.set(ConditionType.ADMITTED, found.state, found.reason, found.message)
    plan = compose(facts, conditions, Phase.PENDING, found.message)
    return replace(plan, requeue_after=LOOK_AGAIN)
