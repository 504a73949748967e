"""What the operator asks the notifier to send, and what it answers.

A message is data, and no text: what it looks like is up to the kind of channel. Most of it is
input of tenants, bounded where it is put together, and escaped where it is rendered. Both sides
import this module, which imports nothing of either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Part = TypeVar("_Part", bound="DataclassInstance")


class Event(StrEnum):
    """What a message is about."""

    FAILED = "Failed"
    RECOVERED = "Recovered"
    WARNED = "Warned"
    LATE = "Late"
    MISSED = "Missed"
    SUCCEEDED = "Succeeded"
    TEST = "Test"


class Outcome(StrEnum):
    """What became of a message."""

    SENT = "Sent"  # the receiver has taken it
    REFUSED = "Refused"  # the receiver will never take it
    MISCONFIGURED = "Misconfigured"  # somebody has to do something: a Secret, a URL, a password
    UNAVAILABLE = "Unavailable"  # it may be taken later


@dataclass(frozen=True)
class FailedNode:
    """A node that failed or warned."""

    unique_id: str
    status: str  # dbt's
    message: str = ""
    rows: int | None = None  # that a test has found
    stored_in: str = ""  # the relation that holds them
    owners: tuple[str, ...] = ()
    group: str = ""


@dataclass(frozen=True)
class Exposure:
    """An exposure downstream of a node that failed."""

    name: str
    type: str = ""
    owner: str = ""


@dataclass(frozen=True)
class About:
    """The object that a message is about."""

    kind: str
    namespace: str
    name: str
    uid: str
    project: str = ""
    target: str = ""
    schedule: str = ""  # that it is a run of
    occurrence: str = ""  # RFC 3339


@dataclass(frozen=True)
class Nodes:
    """What became of nodes. Lists hold the first ones only."""

    total: int = 0
    failed: int = 0
    failed_tests: int = 0  # of the failed ones
    skipped: int = 0  # because of those
    warned: int = 0
    failures: tuple[FailedNode, ...] = ()
    warnings: tuple[FailedNode, ...] = ()
    exposures: tuple[Exposure, ...] = ()
    affected_exposures: int = 0
    missing: str = ""  # why owners and exposures are not known; empty if they are


@dataclass(frozen=True)
class Windows:
    """What became of the windows of a backfill."""

    total: int
    succeeded: int
    failed: int
    first_failed: tuple[str, ...] = ()  # keys of the first ones


@dataclass(frozen=True)
class Times:
    """How long it took, in seconds, and since when it goes on. Moments are RFC 3339."""

    finished_at: str = ""
    duration: float | None = None
    median: float | None = None  # of the successes that the schedule remembers
    last_success: str = ""
    since: str = ""  # of the first failure of the series; or when it was to have succeeded


@dataclass(frozen=True)
class Message:
    """One message for one channel."""

    key: str  # the same for each copy of it
    series: str  # the same for all messages about what Recovered is the end of
    event: Event
    about: About
    summary: str  # status.message: a sentence that a person can act on
    command: str  # shows more
    reason: str = ""
    meaning: str = ""  # the reason in words
    attempts: int = 0
    artifacts: str = ""  # where they are
    nodes: Nodes | None = None
    windows: Windows | None = None
    times: Times = Times()
    others: tuple[About, ...] = ()  # the first of those that the message is about as well
    other_count: int = 0


@dataclass(frozen=True)
class Answer:
    """What became of one try to send a message."""

    outcome: Outcome
    text: str = ""  # for people; free of secrets
    retry_after: float | None = None  # seconds, if the receiver has named a time


def encode(message: Message) -> dict[str, Any]:
    """A message as JSON has it."""
    return asdict(message)


def decode(found: Mapping[str, Any]) -> Message:
    """A message out of JSON; what a later version has added is left out.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    found = _expect_object(found)
    nodes, windows = found.get("nodes"), found.get("windows")
    more = {
        "event": Event(found["event"]),
        "about": _make(About, found["about"]),
        "nodes": _decode_nodes(nodes) if nodes is not None else None,
        "windows": _make(Windows, windows) if windows is not None else None,
        "times": _make(Times, found.get("times") or {}),
        "others": tuple(_make(About, each) for each in found.get("others") or ()),
    }
    return _make(Message, {**found, **more})


def _decode_nodes(found: Mapping[str, Any]) -> Nodes:
    found = _expect_object(found)
    more = {
        "failures": tuple(_make(FailedNode, each) for each in found.get("failures") or ()),
        "warnings": tuple(_make(FailedNode, each) for each in found.get("warnings") or ()),
        "exposures": tuple(_make(Exposure, each) for each in found.get("exposures") or ()),
    }
    return _make(Nodes, {**found, **more})


def _expect_object(found: Any) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise TypeError(f"an object was expected, and not {type(found).__name__}")
    return found


def _make(kind: type[_Part], found: Mapping[str, Any]) -> _Part:
    known = {field.name for field in fields(kind)}
    return kind(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in _expect_object(found).items()
            if name in known
        }
    )
