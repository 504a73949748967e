"""The queue of a target, as its runs see it: what claims a slot, who is before whom, and for how long one may wait."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dbt_operator.api.run import DbtRunStatus, Queue
from dbt_operator.api.status import Phase
from dbt_operator.planning.duration import format_time, parse_time
from dbt_operator.planning.slots import Claim, order

LOOKS = timedelta(seconds=60)  # how often a position is looked at
_NAMED = 10

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Slot:
    """What a run knows of its target's slots. A hint, apart from ``since``: who is not asked live may be mistaken."""

    since: str = ""  # of the slot that it holds; empty if it holds none
    asked: bool = False  # it has just asked for one
    free: bool = False  # there seems to be one
    position: int = 1
    behind: Sequence[str] = ()
    outranked: bool = False  # somebody of higher priority is queued
    lost_pod: str = ""  # the pod of a holder whose node does not answer
    released: bool = False  # its own slot was released by force


def claims_slot(run: Manifest) -> bool:
    """Whether a run wants a slot: it is queued, or an attempt of it is under way."""
    status = run.get("status", {})
    if status.get("cancelRequestedAt") or run["metadata"].get("deletionTimestamp"):
        return False
    return status.get("phase") == Phase.QUEUED or _begun(status)


def _begun(status: Manifest) -> bool:
    attempts = status.get("attempts") or ()
    return bool(attempts) and status.get("phase") in (Phase.PENDING, Phase.RUNNING)


def claim(run: Manifest, now: datetime) -> Claim:
    """What a run has to say for itself."""
    metadata, status = run["metadata"], run.get("status", {})
    since = (status.get("queue") or {}).get("since")
    waited = timedelta(seconds=status.get("queuedSeconds", 0))
    return Claim(
        name=metadata["name"],
        uid=metadata["uid"],
        priority=run["spec"].get("priority", 0),
        created_at=parse_time(metadata["creationTimestamp"]),
        waited=waited + (max(now - parse_time(since), timedelta()) if since else timedelta()),
        yielded=status.get("yieldedSlot", ""),
        begun=_begun(status),
    )


def look(run: Manifest, target: Manifest, others: Iterable[Manifest], now: datetime, *, asked: bool) -> Slot:
    """What a run can see of the slots of its target, from what is known of the target and its other runs."""
    mine = claim(run, now)
    status = target.get("status", {})
    holders: Sequence[Manifest] = status.get("holders") or ()
    held = {holder["uid"]: holder for holder in holders}
    waiting = [claim(other, now) for other in others if claims_slot(other) and other["metadata"]["uid"] not in held]
    ranked = order([mine, *(c for c in waiting if c.uid != mine.uid)])
    before = [c.name for c in ranked[: ranked.index(mine)]]
    return Slot(
        since=held[mine.uid]["since"] if mine.uid in held else "",
        asked=asked,
        free=len(holders) < (target["spec"].get("maxConcurrentRuns") or 1),
        position=len(before) + 1,
        behind=[*(holder["name"] for holder in holders), *before][:_NAMED],
        outranked=any(c.effective_priority > mine.priority for c in waiting if c.uid != mine.uid),
        lost_pod=next((holder["lostPod"] for holder in holders if holder.get("lostPod")), ""),
        released=any(release["uid"] == mine.uid for release in status.get("released") or ()),
    )


def entry(status: DbtRunStatus, slot: Slot, now: datetime) -> Queue:
    """Where a run stands, written on entry and then at most once a minute."""
    old = status.queue
    if old is not None and now - parse_time(old.at) < LOOKS:
        return old
    if old is not None and (old.position, old.behind) == (slot.position, list(slot.behind)):
        return old
    since = old.since if old else format_time(now)
    return Queue(position=slot.position, behind=list(slot.behind), since=since, at=format_time(now))


def waited(status: DbtRunStatus, now: datetime) -> int:
    """For how many seconds a run has been queued, all times added up."""
    since = (now - parse_time(status.queue.since)).total_seconds() if status.queue else 0
    return (status.queued_seconds or 0) + max(0, round(since))


def deadline(status: DbtRunStatus, limit: int | None, now: datetime) -> datetime | None:
    """When a queued run has waited for as long as it may; None if it may wait for ever. The time that its Jobs were
    suspended counts as well.
    """
    if limit is None:
        return None
    suspended = sum(attempt.queued_seconds or 0 for attempt in status.attempts or ())
    return now + timedelta(seconds=limit - waited(status, now) - suspended)
