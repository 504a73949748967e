"""The queue of a target, as its runs see it: what claims a slot, who is before whom, and for how
long one may wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dbt_operator.api.kinds.run import Attempt
from dbt_operator.api.parts.queueing import Queue
from dbt_operator.api.status import Phase
from dbt_operator.planning.common.durations import format_time, parse_time
from dbt_operator.planning.common.manifests import parent_of, work
from dbt_operator.planning.common.queue_time import Waiting, waited
from dbt_operator.planning.queueing.slots import Claim, order

LOOKS = timedelta(seconds=60)  # how often a position is looked at
_NAMED = 10

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Slot:
    """What a run knows of its target's slots. A hint, apart from ``since``: who is not asked live
    may be mistaken.
    """

    since: str = ""  # of the slot that it holds; empty if it holds none
    asked: bool = False  # it has just asked for one
    free: bool = False  # there seems to be one
    position: int = 1
    behind: Sequence[str] = ()
    outranked: bool = False  # somebody of higher priority is queued
    lost_pod: str = ""  # the pod of a holder whose node does not answer
    released: bool = False  # its own slot was released by force
    unreadable: str = ""  # what is wrong with the target, where nobody can read it


def claims_slot(run: Manifest) -> bool:
    """Whether a run or backfill wants a slot: it is queued, or has begun. A run of a backfill works
    in that one's.
    """
    status = run.get("status", {})
    if (
        status.get("cancelRequestedAt")
        or run["metadata"].get("deletionTimestamp")
        or parent_of(run)
    ):
        return False
    return status.get("phase") == Phase.QUEUED or _begun(status)


def _begun(status: Manifest) -> bool:
    """Whether an attempt of a run is under way, or a backfill has given windows away."""
    if status.get("runs"):
        return True
    attempts = status.get("attempts") or ()
    return bool(attempts) and status.get("phase") in (Phase.PENDING, Phase.RUNNING)


def claim(run: Manifest, now: datetime) -> Claim:
    """What a run or backfill has to say for itself."""
    metadata, status = run["metadata"], run.get("status", {})
    since = (status.get("queue") or {}).get("since")
    # Who has waited for its upstreams is as old as the end of that.
    began_at = (status.get("wait") or {}).get("endedAt") or metadata["creationTimestamp"]
    waited = timedelta(seconds=status.get("queuedSeconds", 0))
    return Claim(
        name=metadata["name"],
        uid=metadata["uid"],
        priority=work(run).get("priority", 0),
        created_at=parse_time(began_at),
        waited=waited + (max(now - parse_time(since), timedelta()) if since else timedelta()),
        yielded=status.get("yieldedSlot", ""),
        begun=_begun(status),
        kind=run["kind"],
    )


def claims(runs: Iterable[Manifest], now: datetime) -> list[Claim]:
    """The claims of those that want a slot.

    Manifests come here as they are, and one of them must not stop the others: who cannot be read
    stands still, says so itself, and claims nothing.
    """
    found: list[Claim] = []
    for run in runs:
        with suppress(ValueError, TypeError, KeyError, AttributeError):
            if claims_slot(run):
                found.append(claim(run, now))
    return found


def look(
    run: Manifest, target: Manifest, others: Iterable[Manifest], now: datetime, *, asked: bool
) -> Slot:
    """What a run can see of the slots of its target, from what is known of the target and its other
    runs.
    """
    mine = claim(run, now)
    status = target.get("status", {})
    holders: Sequence[Manifest] = status.get("holders") or ()
    held = {holder["uid"]: holder for holder in holders}
    waiting = [claim for claim in claims(others, now) if claim.uid not in held]
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


def look_of_part(parent_uid: str, target: Manifest) -> Slot:
    """What a run of a backfill can see of the slot that it works in."""
    status = target.get("status", {})
    holders: Sequence[Manifest] = status.get("holders") or ()
    return Slot(
        since=next((holder["since"] for holder in holders if holder["uid"] == parent_uid), ""),
        released=any(release["uid"] == parent_uid for release in status.get("released") or ()),
    )


def entry(status: Waiting, slot: Slot, now: datetime) -> Queue:
    """Where a run stands, written on entry and then at most once a minute."""
    old = status.queue
    if old is not None and now - parse_time(old.at) < LOOKS:
        return old
    if old is not None and (old.position, old.behind) == (slot.position, list(slot.behind)):
        return old
    since = old.since if old else format_time(now)
    return Queue(position=slot.position, behind=list(slot.behind), since=since, at=format_time(now))


def deadline(
    status: Waiting, limit: int | None, now: datetime, attempts: Iterable[Attempt] | None = None
) -> datetime | None:
    """When a queued run has waited for as long as it may; None if it may wait for ever. The time
    that the Jobs of its attempts were suspended counts as well.
    """
    if limit is None:
        return None
    suspended = sum(attempt.queued_seconds or 0 for attempt in attempts or ())
    return now + timedelta(seconds=limit - waited(status, now) - suspended)
