"""What a run does about its slot: ask for it, wait for it, open its pod's gate under it, give it up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from dbt_operator.api.backfill import DbtBackfillStatus
from dbt_operator.api.run import DbtRunStatus, RunTemplateSpec
from dbt_operator.api.status import ConditionType, Phase, Reason
from dbt_operator.planning import queue
from dbt_operator.planning.admission import Identity
from dbt_operator.planning.duration import parse_time
from dbt_operator.planning.names import FORCE_RELEASE
from dbt_operator.planning.plan import DeleteJob, OpenGate, Plan, SettleSlots
from dbt_operator.planning.queue import Slot
from dbt_operator.planning.run_status import Observed, changed, compose, conditions_of

# Reasons of the condition Admitted.
NOT_FOUND, UNREADABLE = "ReferenceNotFound", "ReferenceInvalid"
_LOOK_AGAIN = 5.0  # seconds


class Seen(Protocol):
    """What is known of something that waits for a slot: a run, or a backfill."""

    @property
    def slot(self) -> Slot:
        """What is known of the target's slots."""

    @property
    def created_at(self) -> datetime:
        """When it was created."""

    @property
    def status(self) -> DbtRunStatus | DbtBackfillStatus:
        """Its status."""


def may_begin(seen: Seen) -> bool:
    """Whether an attempt may begin: the run holds a slot, and not the one that it has given up."""
    return bool(seen.slot.since) and seen.slot.since != seen.status.yielded_slot


def asks(seen: Seen) -> bool:
    """Whether to ask for a slot: where none seems to be free it would be in vain, and who is queued is called."""
    return seen.slot.free and not seen.slot.asked


def message(target: str, status: queue.Waiting, slot: Slot) -> str:
    """What somebody who is queued waits for, as of the last look."""
    found = status.queue
    behind = f", behind {', '.join(found.behind)}" if found and found.behind else ""
    where = f"waiting for a slot of DbtTarget {target}"
    text = f"{where}: number {found.position if found else slot.position} in the queue{behind}"
    if slot.unreadable:
        return f"{text}. It gives none as long as it cannot be read: {slot.unreadable}"
    return text + _lost(slot)


def _lost(slot: Slot) -> str:
    """What to do about a node that does not answer."""
    if not slot.lost_pod:
        return ""
    return (
        f". Pod {slot.lost_pod} should have ended, and its node does not answer: remove the node, or, if the pod cannot"
        f" be running any more, annotate the DbtTarget with {FORCE_RELEASE} and the holder's UID"
    )


def queued(seen: Observed, due: datetime | None, now: datetime) -> Plan:
    """In the queue, until ``due``."""
    lost = seen.slot.lost_pod
    status = seen.status.model_copy(update={"queue": queue.entry(seen.status, seen.slot, now)})
    text = message(seen.run.spec.target_ref.name, status, seen.slot)
    conditions = conditions_of(seen, now)
    if seen.status.resolved is None:
        conditions.set(ConditionType.ADMITTED, "Unknown", Phase.QUEUED, "project and target are resolved in its turn")
    found = compose(
        seen,
        conditions,
        Phase.QUEUED,
        text,
        reason=Reason.SLOT_HELD_BY_LOST_NODE if lost else None,
        queue=status.queue,
    )
    wait = queue.LOOKS.total_seconds()
    return replace(found, requeue_after=min(wait, (due - now).total_seconds()) if due else wait)


class Referring(Protocol):
    """What refers to a project and a target: a run, or a backfill."""

    @property
    def identity(self) -> Identity:
        """Its own."""

    @property
    def project(self) -> object | None:
        """The project; None where there is none that can be read."""

    @property
    def target(self) -> object | None:
        """The target; None where there is none that can be read."""

    @property
    def unreadable(self) -> Mapping[str, str]:
        """What is wrong with what cannot be read, by kind and name."""


def missing(spec: RunTemplateSpec, seen: Referring) -> str:
    """What a run refers to and does not exist, or cannot be read; empty where all is there."""
    wanted = [
        (f"DbtProject {spec.project_ref.name}", seen.project),
        (f"DbtTarget {spec.target_ref.name}", seen.target),
    ]
    absent = [who for who, found in wanted if found is None and who not in seen.unreadable]
    said = [f"{who} cannot be read: {why}" for who, why in seen.unreadable.items()]
    if absent:
        said.insert(0, f"{' and '.join(absent)} not found in namespace {seen.identity.namespace}")
    return "; ".join(said)


def reason_of_missing(seen: Referring) -> str:
    """The reason of the condition Admitted while something is missing."""
    return UNREADABLE if seen.unreadable else NOT_FOUND


def remedy(seen: Referring, kind: str) -> str:
    """What to do about something that is missing and has not come in time."""
    if seen.unreadable:
        return f"correct it, and create a new {kind}"
    return f"create it, or correct the reference in a new {kind}"


def missing_since(seen: Seen, now: datetime) -> datetime:
    """Since when a project or target is not there: from the beginning, or since the run was queued at the latest."""
    found = {condition.type: condition for condition in seen.status.conditions or ()}
    admitted = found.get(ConditionType.ADMITTED)
    if admitted is None:
        return seen.created_at
    waits = admitted.reason in (NOT_FOUND, UNREADABLE)
    return parse_time(admitted.last_transition_time) if waits else now


def gate(seen: Observed, now: datetime) -> Plan | None:
    """Open the gate of a pod whose Job stands in status; None where there is no gate to be opened yet."""
    pod, attempts = seen.pod, seen.status.attempts or []
    if pod is None or not pod.gated or pod.deleting or not attempts or pod.job_uid != attempts[-1].job_uid:
        return None
    target = seen.run.spec.target_ref.name
    if seen.slot.since:
        return Plan(actions=(OpenGate(target, pod.name, pod.uid),))
    if not seen.slot.asked and seen.orders is None:
        return Plan(actions=(SettleSlots(target),))
    text = f"waiting for a slot of DbtTarget {target}, which was created anew"
    return replace(compose(seen, conditions_of(seen, now), Phase.PENDING, text), requeue_after=_LOOK_AGAIN)


def yielded(seen: Observed, now: datetime) -> Plan | None:
    """A run that backs off gives its slot to one of higher priority, and takes its turn again after it."""
    if not may_begin(seen) or not seen.slot.outranked:
        return None
    text = f"{seen.status.message}; its slot goes to a run of higher priority"
    found = compose(seen, conditions_of(seen, now), Phase.BACKING_OFF, text)
    return changed(found, yielded_slot=seen.slot.since)


def clear(seen: Observed) -> Plan | None:
    """Delete Jobs that nobody recorded: their pods stand behind the gate for ever."""
    if not seen.strays:
        return None
    return Plan(actions=tuple(DeleteJob(stray.name, stray.uid) for stray in seen.strays), requeue_after=_LOOK_AGAIN)
