"""What a run does about its slot: ask for it, wait for it, open its pod's gate under it, give it
up.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dbt_operator.api.status import ConditionType, Phase, Reason
from dbt_operator.planning.attempt.verdict import Verdict
from dbt_operator.planning.common.compose import changed, conditions_of
from dbt_operator.planning.common.plan import LOOK_AGAIN, OpenGate, Plan, SettleSlots
from dbt_operator.planning.queueing import positions, waiting
from dbt_operator.planning.queueing.waiting import Place
from dbt_operator.planning.run import part
from dbt_operator.planning.run.ending import finish
from dbt_operator.planning.run.facts import RunFacts
from dbt_operator.planning.run.status import compose


def claim_slot(facts: RunFacts, limit: int | None, now: datetime) -> Plan:
    """Ask for a slot, or wait in the queue for no longer than ``limit`` allows, in seconds."""
    if facts.orders is not None:
        return part.wait_for_windows(facts, facts.orders, now)
    target = facts.run.spec.target_ref.name
    if waiting.asks(facts):
        return Plan(actions=(SettleSlots(target),))
    due = positions.deadline(facts.status, limit, now, facts.status.attempts)
    if due is not None and now >= due:
        return finish(
            facts, Verdict(Reason.QUEUE_TIMEOUT, waiting.say_timed_out(target, facts)), now
        )
    return _wait_in_queue(facts, waiting.find_place(target, facts, due, now), now)


def _wait_in_queue(facts: RunFacts, place: Place, now: datetime) -> Plan:
    conditions = conditions_of(facts, now)
    if facts.status.resolved is None:
        conditions.set(
            ConditionType.ADMITTED,
            "Unknown",
            Phase.QUEUED,
            "project and target are resolved in its turn",
        )
    found = compose(
        facts, conditions, Phase.QUEUED, place.message, reason=place.reason, queue=place.queue
    )
    return replace(found, requeue_after=place.look_after)


def open_gate(facts: RunFacts, now: datetime) -> Plan | None:
    """Open the gate of a pod whose Job stands in status; None where there is no gate to be opened
    yet.
    """
    pod, attempts = facts.attempt.pod, facts.status.attempts or []
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
        compose(facts, conditions_of(facts, now), Phase.PENDING, text), requeue_after=LOOK_AGAIN
    )


def yield_slot(facts: RunFacts, now: datetime) -> Plan | None:
    """A run that backs off gives its slot to one of higher priority, and takes its turn again after
    it.
    """
    if not waiting.may_begin(facts) or not facts.slot.outranked:
        return None
    text = f"{facts.status.message}; its slot goes to a run of higher priority"
    found = compose(facts, conditions_of(facts, now), Phase.BACKING_OFF, text)
    return changed(found, yielded_slot=facts.slot.since)
