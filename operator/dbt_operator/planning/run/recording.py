"""A run that says it is somebody's begins nothing until that one's status knows its UID: an owner
reference alone proves nothing.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dbt_operator.api.status import ConditionType, Phase, Reason
from dbt_operator.planning.attempt.verdict import Verdict
from dbt_operator.planning.common.compose import conditions_of
from dbt_operator.planning.common.conditions import State
from dbt_operator.planning.common.durations import parse_time
from dbt_operator.planning.common.plan import LOOK_AGAIN, Plan
from dbt_operator.planning.common.references import UNREADABLE
from dbt_operator.planning.run.admission import find_start_timeout
from dbt_operator.planning.run.facts import RunFacts
from dbt_operator.planning.run.record import Record
from dbt_operator.planning.run.status import compose

_NOT_RECORDED = "NotRecorded"  # reason of the condition Admitted


def wait_for_record(facts: RunFacts, record: Record, now: datetime) -> Plan | Verdict | None:
    """Wait until the owner's status knows the run; the verdict on one that it never will know; None
    where it does.
    """
    if record.unreadable:
        text = f"waiting: {record.owner} cannot be read: {record.unreadable}"
        return _wait(facts, text, now, UNREADABLE, "Unknown")
    if record.stands:
        return None
    text = (
        f"{record.owner} does not exist"
        if record.gone
        else f"it does not stand in {record.place} of {record.owner}"
    )
    if now >= _left_out_since(facts, now) + find_start_timeout(facts.run.spec):
        return Verdict(Reason.INVALID_SPEC, f"{text}: only that one creates such runs")
    return _wait(facts, f"waiting: {text}", now, _NOT_RECORDED, "False")


def _left_out_since(facts: RunFacts, now: datetime) -> datetime:
    """Since when its owner, as far as that could be read, has not known of it."""
    found = {condition.type: condition for condition in facts.status.conditions or ()}
    admitted = found.get(ConditionType.ADMITTED)
    if admitted is None:
        return facts.created_at
    return parse_time(admitted.last_transition_time) if admitted.reason == _NOT_RECORDED else now


def _wait(facts: RunFacts, text: str, now: datetime, reason: str, state: State) -> Plan:
    conditions = conditions_of(facts, now)
    conditions.set(ConditionType.ADMITTED, state, reason, text)
    return replace(compose(facts, conditions, Phase.PENDING, text), requeue_after=LOOK_AGAIN)
