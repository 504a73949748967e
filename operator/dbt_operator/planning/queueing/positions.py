"""The queue of a target, as its runs see it: where they stand, and for how long they may wait."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from dbt_operator.api.kinds.run import Attempt
from dbt_operator.api.parts.queueing import Queue
from dbt_operator.planning.common.durations import format_time, parse_time
from dbt_operator.planning.common.queue_time import Waiting, waited
from dbt_operator.planning.queueing.claims import claim
from dbt_operator.planning.queueing.ranking import Ranking

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


def look(run: Manifest, target: Manifest, ranking: Ranking, now: datetime, *, asked: bool) -> Slot:
    """What a run can see of the slots of its target, from what is known of the target and of who
    claims a slot of it.
    """
    mine = ranking.find(run["metadata"]["uid"]) or claim(run, now)
    status = target.get("status", {})
    holders: Sequence[Manifest] = status.get("holders") or ()
    held = {holder["uid"]: holder for holder in holders}
    before = ranking.iterate_before(mine, held)
    return Slot(
        since=held[mine.uid]["since"] if mine.uid in held else "",
        asked=asked,
        free=len(holders) < (target["spec"].get("maxConcurrentRuns") or 1),
        position=ranking.count_before(mine, held) + 1,
        behind=[
            *(holder["name"] for holder in holders),
            *(each.name for each in islice(before, _NAMED)),
        ][:_NAMED],
        outranked=ranking.outranks(mine, held),
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
