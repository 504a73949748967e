"""When a finished run is deleted: spec.ttlAfterFinished after status.finishedAt, so it survives
every restart.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from dbt_operator.api.status import ConditionType
from dbt_operator.planning.common.compose import conditions_of
from dbt_operator.planning.common.durations import parse_time, seconds
from dbt_operator.planning.common.managers import managed_by
from dbt_operator.planning.common.plan import DeleteRun, Plan
from dbt_operator.planning.run.facts import RunFacts

_LOOK_AGAIN = 60.0  # seconds; a deletion that did not happen is asked for again


def plan(facts: RunFacts, now: datetime) -> Plan:
    """Decide on a run that has ended."""
    ttl, finished_at = facts.run.spec.ttl_after_finished, facts.status.finished_at
    if ttl is None or finished_at is None:
        return Plan()
    if manager := managed_by({**facts.identity.labels, **facts.identity.annotations}):
        return _kept(facts, manager, now)
    due = parse_time(finished_at) + timedelta(seconds=seconds(ttl))
    if now < due:
        return Plan(requeue_after=(due - now).total_seconds())
    if facts.orders is not None and (facts.orders.resolved is not None or facts.orders.unreadable):
        return Plan(requeue_after=_LOOK_AGAIN)  # its backfill has not read yet what became of it
    if any(each.state == "Pending" for each in facts.status.notifications or ()):
        return Plan(requeue_after=_LOOK_AGAIN)  # somebody is still to be told of its end
    return Plan(
        actions=(DeleteRun(facts.identity.name, facts.identity.uid),), requeue_after=_LOOK_AGAIN
    )


def _kept(facts: RunFacts, manager: str, now: datetime) -> Plan:
    """Deleted here, it would come back at once and run again."""
    conditions = conditions_of(facts, now)
    message = (
        f"ttlAfterFinished has no effect: {manager} manages this object and would create it again"
    )
    conditions.set(ConditionType.EXPIRES, "False", "ManagedByGitOps", message)
    return Plan(status=facts.status.model_copy(update={"conditions": conditions.list()}))
