"""What a run does about its slot: wait for it, open its pod's gate under it, give it up."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dbt_operator.api.status import ConditionType, Phase, Reason
from dbt_operator.planning.common.compose import changed
from dbt_operator.planning.common.plan import DeleteJob, OpenGate, Plan, SettleSlots
from dbt_operator.planning.queueing import positions
from dbt_operator.planning.queueing.waiting import may_begin, message
from dbt_operator.planning.run.facts import RunFacts
from dbt_operator.planning.run.status import compose, conditions_of

_LOOK_AGAIN = 5.0  # seconds


def wait_in_queue(facts: RunFacts, due: datetime | None, now: datetime) -> Plan:
    """In the queue, until ``due``."""
    lost = facts.slot.lost_pod
    status = facts.status.model_copy(
        update={"queue": positions.entry(facts.status, facts.slot, now)}
    )
    text = message(facts.run.spec.target_ref.name, status, facts.slot)
    conditions = conditions_of(facts, now)
    if facts.status.resolved is None:
        conditions.set(
            ConditionType.ADMITTED,
            "Unknown",
            Phase.QUEUED,
            "project and target are resolved in its turn",
        )
    found = compose(
        facts,
        conditions,
        Phase.QUEUED,
        text,
        reason=Reason.SLOT_HELD_BY_LOST_NODE if lost else None,
        queue=status.queue,
    )
    wait = positions.LOOKS.total_seconds()
    return replace(found, requeue_after=min(wait, (due - now).total_seconds()) if due else wait)


def open_gate(facts: RunFacts, now: datetime) -> Plan | None:
    """Open the gate of a pod whose Job stands in status; None where there is no gate to be opened
    yet.
    """
    pod, attempts = facts.pod, facts.status.attempts or []
    if (
        pod is None
        or not pod.gated
        or pod.deleting
        or not attempts
        or pod.job_uid != attempts[-1].job_uid
    ):
        return None
    target = facts.run.spec.target_ref.name
    if facts.slot.since:
        return Plan(actions=(OpenGate(target, pod.name, pod.uid),))
    if not facts.slot.asked and facts.orders is None:
        return Plan(actions=(SettleSlots(target),))
    text = f"waiting for a slot of DbtTarget {target}, which was created anew"
    return replace(
        compose(facts, conditions_of(facts, now), Phase.PENDING, text), requeue_after=_LOOK_AGAIN
    )


def yield_slot(facts: RunFacts, now: datetime) -> Plan | None:
    """A run that backs off gives its slot to one of higher priority, and takes its turn again after
    it.
    """
    if not may_begin(facts) or not facts.slot.outranked:
        return None
    text = f"{facts.status.message}; its slot goes to a run of higher priority"
    found = compose(facts, conditions_of(facts, now), Phase.BACKING_OFF, text)
    return changed(found, yielded_slot=facts.slot.since)


def delete_strays(facts: RunFacts) -> Plan | None:
    """Delete Jobs that nobody recorded: their pods stand behind the gate for ever."""
    if not facts.strays:
        return None
    return Plan(
        actions=tuple(DeleteJob(stray.name, stray.uid) for stray in facts.strays),
        requeue_after=_LOOK_AGAIN,
    )
