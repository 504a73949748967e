"""What a run does about its slot: wait for it, open its pod's gate under it, give it up."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dbt_operator.api.status import ConditionType, Phase, Reason
from dbt_operator.planning.common.compose import changed
from dbt_operator.planning.common.plan import DeleteJob, OpenGate, Plan, SettleSlots
from dbt_operator.planning.queueing import positions
from dbt_operator.planning.queueing.waiting import may_begin, message
from dbt_operator.planning.run.facts import Observed
from dbt_operator.planning.run.status import compose, conditions_of

_LOOK_AGAIN = 5.0  # seconds


def queued(seen: Observed, due: datetime | None, now: datetime) -> Plan:
    """In the queue, until ``due``."""
    lost = seen.slot.lost_pod
    status = seen.status.model_copy(update={"queue": positions.entry(seen.status, seen.slot, now)})
    text = message(seen.run.spec.target_ref.name, status, seen.slot)
    conditions = conditions_of(seen, now)
    if seen.status.resolved is None:
        conditions.set(
            ConditionType.ADMITTED,
            "Unknown",
            Phase.QUEUED,
            "project and target are resolved in its turn",
        )
    found = compose(
        seen,
        conditions,
        Phase.QUEUED,
        text,
        reason=Reason.SLOT_HELD_BY_LOST_NODE if lost else None,
        queue=status.queue,
    )
    wait = positions.LOOKS.total_seconds()
    return replace(found, requeue_after=min(wait, (due - now).total_seconds()) if due else wait)


def gate(seen: Observed, now: datetime) -> Plan | None:
    """Open the gate of a pod whose Job stands in status; None where there is no gate to be opened
    yet.
    """
    pod, attempts = seen.pod, seen.status.attempts or []
    if (
        pod is None
        or not pod.gated
        or pod.deleting
        or not attempts
        or pod.job_uid != attempts[-1].job_uid
    ):
        return None
    target = seen.run.spec.target_ref.name
    if seen.slot.since:
        return Plan(actions=(OpenGate(target, pod.name, pod.uid),))
    if not seen.slot.asked and seen.orders is None:
        return Plan(actions=(SettleSlots(target),))
    text = f"waiting for a slot of DbtTarget {target}, which was created anew"
    return replace(
        compose(seen, conditions_of(seen, now), Phase.PENDING, text), requeue_after=_LOOK_AGAIN
    )


def yielded(seen: Observed, now: datetime) -> Plan | None:
    """A run that backs off gives its slot to one of higher priority, and takes its turn again after
    it.
    """
    if not may_begin(seen) or not seen.slot.outranked:
        return None
    text = f"{seen.status.message}; its slot goes to a run of higher priority"
    found = compose(seen, conditions_of(seen, now), Phase.BACKING_OFF, text)
    return changed(found, yielded_slot=seen.slot.since)


def clear(seen: Observed) -> Plan | None:
    """Delete Jobs that nobody recorded: their pods stand behind the gate for ever."""
    if not seen.strays:
        return None
    return Plan(
        actions=tuple(DeleteJob(stray.name, stray.uid) for stray in seen.strays),
        requeue_after=_LOOK_AGAIN,
    )
