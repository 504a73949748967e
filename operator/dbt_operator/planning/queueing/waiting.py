"""Who may begin, who asks for a slot, and what is said of somebody who waits for one or for what
it refers to.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from dbt_operator.api.kinds.backfill import DbtBackfillStatus
from dbt_operator.api.kinds.run import DbtRunStatus
from dbt_operator.api.parts.queueing import Queue
from dbt_operator.api.status import ConditionType, Reason
from dbt_operator.planning.common.durations import parse_time
from dbt_operator.planning.common.names import FORCE_RELEASE
from dbt_operator.planning.common.queue_time import Waiting
from dbt_operator.planning.common.references import NOT_FOUND, UNREADABLE
from dbt_operator.planning.queueing import positions
from dbt_operator.planning.queueing.positions import Slot


class Waiter(Protocol):
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


def may_begin(facts: Waiter) -> bool:
    """Whether an attempt may begin: the run holds a slot, and not the one that it has given up."""
    return bool(facts.slot.since) and facts.slot.since != facts.status.yielded_slot


def asks(facts: Waiter) -> bool:
    """Whether to ask for a slot: where none seems to be free it would be in vain, and who is queued
    is called.
    """
    return facts.slot.free and not facts.slot.asked


def message(target: str, status: Waiting, slot: Slot) -> str:
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
        f". Pod {slot.lost_pod} should have ended, and its node does not answer: remove the node, "
        "or, if the pod cannot"
        f" be running any more, annotate the DbtTarget with {FORCE_RELEASE} and the holder's UID"
    )


def say_timed_out(target: str, facts: Waiter) -> str:
    """What is said of somebody who has waited for as long as it may."""
    return f"{message(target, facts.status, facts.slot)}, for longer than queueTimeout allows"


def say_released(target: str) -> str:
    """What is said of somebody whose slot was taken away by hand."""
    return f"the annotation {FORCE_RELEASE} of DbtTarget {target} has released its slot"


@dataclass(frozen=True)
class Place:
    """What is said of somebody who waits in the queue, and when it wants to be looked at again."""

    queue: Queue
    message: str
    reason: Reason | None
    look_after: float  # seconds


def find_place(target: str, facts: Waiter, due: datetime | None, now: datetime) -> Place:
    """Where somebody stands who waits in the queue of a target, until ``due`` at the latest."""
    queue = positions.entry(facts.status, facts.slot, now)
    status = facts.status.model_copy(update={"queue": queue})
    wait = positions.LOOKS.total_seconds()
    return Place(
        queue,
        message(target, status, facts.slot),
        Reason.SLOT_HELD_BY_LOST_NODE if facts.slot.lost_pod else None,
        min(wait, (due - now).total_seconds()) if due else wait,
    )


def missing_since(facts: Waiter, now: datetime) -> datetime:
    """Since when a project or target is not there: from the beginning, or since the run was queued
    at the latest.
    """
    found = {condition.type: condition for condition in facts.status.conditions or ()}
    admitted = found.get(ConditionType.ADMITTED)
    if admitted is None:
        return facts.created_at
    waits = admitted.reason in (NOT_FOUND, UNREADABLE)
    return parse_time(admitted.last_transition_time) if waits else now
