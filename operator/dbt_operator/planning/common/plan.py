"""What a planner answers: actions to take, the status to write, and when to look again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dbt_operator.api.base import Model
from dbt_operator.api.kinds.project import StateEntry
from dbt_operator.api.texts import NOTE, cut

# seconds; while something is waited for that wakes nobody: a pod that does not start tells why by
# events, which are not watched, and the API server may refuse what is to be created
LOOK_AGAIN = 5.0


@dataclass(frozen=True)
class CreateJob:
    """Create a Job, or find that it exists."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True)
class DeleteJob:
    """Delete a Job and its pods; it stays until they are gone."""

    name: str
    uid: str


@dataclass(frozen=True)
class MarkJob:
    """Mark a Job that has failed as ended. Nothing depends on it but what settling slots costs."""

    name: str
    uid: str


@dataclass(frozen=True)
class DeletePod:
    """Ask a pod to end, within its grace period. Its Job remains, and makes no other."""

    name: str
    uid: str


@dataclass(frozen=True)
class PromoteState:
    """Make the state that a run has left the current one of its target, unless something newer
    is.
    """

    project: str
    entry: StateEntry
    base: str | None  # the state that must still be the current one; None: whichever it is


@dataclass(frozen=True)
class CreateRun:
    """Create a DbtRun, or a DbtBackfill, or find that it exists."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True)
class StopPod:
    """Ask a pod to begin no further window."""

    name: str
    uid: str


@dataclass(frozen=True)
class DeleteRun:
    """Delete a DbtRun, or a DbtBackfill, and its Jobs with it."""

    name: str
    uid: str
    kind: str = "DbtRun"


@dataclass(frozen=True)
class SettleSlots:
    """Take back the slots of a target that are free, and give them to those whose turn it is."""

    target: str


@dataclass(frozen=True)
class OpenGate:
    """Let a pod be scheduled, provided that its run holds a slot of the target now."""

    target: str
    pod: str
    uid: str


Action = (
    CreateJob
    | DeleteJob
    | MarkJob
    | DeletePod
    | StopPod
    | PromoteState
    | CreateRun
    | DeleteRun
    | SettleSlots
    | OpenGate
)


@dataclass(frozen=True)
class Event:
    """A Kubernetes event about the object, posted once the status that it speaks of has been
    written.
    """

    type: str  # Normal or Warning
    reason: str
    message: str


@dataclass(frozen=True)
class Plan:
    """A decision.

    Actions are taken first and what they bring about is observed; the status is written when none
    is left.
    """

    status: Model | None = None  # None: leave it as it is
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None  # seconds


def fitted(plan: Plan) -> Plan:
    """A plan as a planner hands it out: texts are as long as their fields allow, and the model
    takes the status.

    Raises:
        ValidationError: the planner has put together what its own model refuses. That is an error
            of the planner.
    """
    status = plan.status
    events = tuple(replace(event, message=cut(event.message, NOTE)) for event in plan.events)
    return replace(
        plan,
        status=type(status).model_validate(status.to_dict()) if status else None,
        events=events,
    )
