"""Which of several operators leads: the decisions of client-go's leader election.

The Lease is written by compare-and-swap, so that of two who want it at the same time one gets it.
Times in it are for people: clocks of other machines are never compared with ours. A holder counts
as alive for as long as its record promises, from the moment at which *we* have seen the record
change, by our own clock. The holder in turn stops to believe in itself some seconds before anybody
else may stop to, counted from when it *sent* its last renewal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Terms:
    """What all candidates have agreed on; the values are client-go's."""

    lease_duration: int = 15  # seconds without a change after which others may take the Lease
    renew_deadline: float = (
        10  # seconds after its last renewal at which a leader gives up; less than the duration
    )
    retry_period: float = 2  # seconds between two looks at the Lease


TERMS = Terms()


@dataclass(frozen=True)
class Record:
    """What a Lease says."""

    holder: str = ""  # empty: given back
    duration: int = 0  # seconds
    acquired: str = ""
    renewed: str = ""
    transitions: int = 0


@dataclass(frozen=True)
class LeaseFacts:
    """What the Lease said the last time, and since when, by our own monotonic clock. None: there
    was no Lease.
    """

    record: Record | None
    since: float


def look(before: LeaseFacts | None, record: Record | None, now: float) -> LeaseFacts:
    """Take in what the Lease says now."""
    return before if before is not None and before.record == record else LeaseFacts(record, now)


def claim(facts: LeaseFacts, identity: str, now: float, time: str, terms: Terms) -> Record | None:
    """What to write into the Lease in order to lead, or to go on leading; None while it is somebody
    else's.
    """
    record = facts.record
    if record is None:
        return Record(identity, terms.lease_duration, time, time)
    if record.holder == identity:
        return replace(record, duration=terms.lease_duration, renewed=time)
    if record.holder and now < facts.since + (record.duration or terms.lease_duration):
        return None
    return Record(identity, terms.lease_duration, time, time, record.transitions + 1)


def given_back(record: Record, time: str) -> Record:
    """What its holder writes so that the next one need not wait."""
    return Record("", 1, time, time, record.transitions)


def leads(renewed_at: float | None, now: float, terms: Terms) -> bool:
    """Whether somebody may believe to lead who has sent the last renewal that succeeded then."""
    return renewed_at is not None and now < renewed_at + terms.renew_deadline


def micro_time(moment: datetime) -> str:
    """A moment in UTC as Kubernetes' MicroTime."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def record_of(lease: Mapping[str, Any]) -> Record:
    """What a Lease says; whatever it leaves out is empty."""
    spec = lease.get("spec") or {}
    return Record(
        holder=spec.get("holderIdentity") or "",
        duration=spec.get("leaseDurationSeconds") or 0,
        acquired=spec.get("acquireTime") or "",
        renewed=spec.get("renewTime") or "",
        transitions=spec.get("leaseTransitions") or 0,
    )


def spec_of(record: Record) -> dict[str, Any]:
    """The same as the spec of a Lease."""
    return {
        "holderIdentity": record.holder,
        "leaseDurationSeconds": record.duration,
        "acquireTime": record.acquired,
        "renewTime": record.renewed,
        "leaseTransitions": record.transitions,
    }
