"""Who holds the slots of a target, and who gets the next one.

What makes this a mutex although caches are stale, events come twice and operators are two, or stop
and come back:

1. Holders stand in ``DbtTarget.status.holders``, written by compare-and-swap on what was read
   before Jobs and pods were listed. Only who stands there begins an attempt.
2. A run gives its slot up by a write to its own status: its end, or ``yieldedSlot`` while it backs
   off. Both are final for that slot, and an attempt is written by compare-and-swap on the same
   status, so it begins either before or never.
3. A pod is born behind a scheduling gate. It is opened only where the Job stands in the run's
   status and, asked after the Job was there, the run among the holders. A slot is not taken back
   while such a pod or Job lives.
4. Jobs and pods of a target count whatever its status says, so one that is deleted and created anew
finds who is there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto

from dbt_operator.api.kinds.target import DbtTarget, DbtTargetStatus, Holder, Release
from dbt_operator.planning.common.durations import format_time

STARVES_AFTER = timedelta(
    minutes=30
)  # a run that has waited for so long counts as one of the next priority
_REMEMBERED = 20  # releases by force


class State(Enum):
    """What is known of the object that a slot was given to."""

    ACTIVE = auto()  # it goes on
    ENDED = auto()  # its end stands in its status: nothing of it begins any more
    GONE = auto()  # deleted


@dataclass(frozen=True)
class Occupant:
    """What a live list of a target's Jobs and pods shows of one holder, or of one who should be."""

    kind: str
    name: str
    uid: str
    job: bool = False  # a Job that has not ended
    gated: bool = False  # a pod that lives, behind the gate
    running: bool = False  # a pod that lives, and may be at work
    lost_pod: str = ""  # the pod that should have ended long ago

    def occupies(self, state: State) -> bool:
        """Whether it needs the slot, or could.

        Of a run that has ended there may be a Job that was created late: its gate stays shut. Of
        one that was deleted nobody knows what was seen of it last.
        """
        return self.running if state is State.ENDED else self.running or self.gated or self.job


@dataclass(frozen=True)
class Claim:
    """A run or backfill that wants a slot."""

    name: str
    uid: str
    priority: int
    created_at: datetime
    waited: timedelta = timedelta()
    yielded: str = ""  # since of the slot that it has given up
    begun: bool = False  # an attempt of it is under way: the target was created anew meanwhile
    kind: str = "DbtRun"

    @property
    def effective_priority(self) -> int:
        """So that nobody waits for ever."""
        return self.priority + self.waited // STARVES_AFTER


@dataclass(frozen=True)
class SlotFacts:
    """All that is known of a target's slots."""

    target: DbtTarget
    states: Mapping[str, State]  # by UID, of holders and occupants
    occupants: Mapping[str, Occupant]  # by UID
    yielded: Mapping[str, str]  # by UID: since of the slot that its run has given up
    claims: Sequence[Claim] = ()
    force_release: str = ""  # the annotation


@dataclass(frozen=True)
class Allocation:
    """What the slots should be."""

    holders: list[Holder]
    granted: list[Claim] = field(default_factory=list)
    released: list[Release] = field(default_factory=list)  # by force
    waiting_for: list[str] = field(
        default_factory=list
    )  # who would be released, if nothing of them lived
    queued: int = 0


def rank(claim: Claim) -> tuple[bool, int, datetime, str, str]:
    """What claims are ordered by: what has begun, then priority, then age."""
    return (
        not claim.begun,
        -claim.effective_priority,
        claim.created_at,
        claim.name,
        claim.uid,
    )


def order(claims: Iterable[Claim]) -> list[Claim]:
    """Who is next, the first one first."""
    return sorted(claims, key=rank)


def limit_of(target: DbtTarget) -> int:
    """How many slots a target has."""
    return target.spec.max_concurrent_runs or 1


def allocate(facts: SlotFacts, now: datetime) -> Allocation:
    """Take back what is free, take in who is at work, and give the rest to those whose turn it
    is.
    """
    status = facts.target.status or DbtTargetStatus()
    forced = _forced(facts, status)
    kept, waiting_for = _kept(facts, status.holders or [], forced)
    limit = limit_of(facts.target)
    released = [*(status.released or []), *_releases(facts, status, forced, now)][-_REMEMBERED:]
    outside = 0
    for occupant in _outside(facts, kept, {release.uid for release in released}):
        if len(kept) < limit:
            kept.append(
                _holder(
                    occupant.kind,
                    occupant.name,
                    occupant.uid,
                    now,
                    facts.yielded.get(occupant.uid, ""),
                )
            )
        else:
            outside += 1
    claims = order(
        claim for claim in facts.claims if claim.uid not in {holder.uid for holder in kept}
    )
    granted = claims[: max(0, limit - len(kept) - outside)]
    kept += [_holder(claim.kind, claim.name, claim.uid, now, claim.yielded) for claim in granted]
    return Allocation(kept, granted, released, waiting_for, len(claims) - len(granted))


def _kept(
    facts: SlotFacts, holders: Sequence[Holder], forced: Collection[str]
) -> tuple[list[Holder], list[str]]:
    """The holders that stay, and the names of those that stay only because something of them
    lives.
    """
    kept: list[Holder] = []
    waiting_for: list[str] = []
    for holder in holders:
        state = facts.states.get(holder.uid, State.ACTIVE)
        given_up = state is not State.ACTIVE or facts.yielded.get(holder.uid) == holder.since
        occupant = facts.occupants.get(holder.uid)
        lives = occupant is not None and occupant.occupies(state)
        if holder.uid in forced or (given_up and not lives):
            continue
        if given_up:
            waiting_for.append(holder.name)
        kept.append(
            holder.model_copy(update={"lost_pod": (occupant.lost_pod if occupant else "") or None})
        )
    return kept, waiting_for


def _outside(facts: SlotFacts, kept: Sequence[Holder], released: Collection[str]) -> list[Occupant]:
    """Who is at work and stands nowhere, those first that may really be running."""
    held = {holder.uid for holder in kept}
    found = [
        occupant
        for uid, occupant in facts.occupants.items()
        if uid not in held
        and uid not in released
        and occupant.occupies(facts.states.get(uid, State.ACTIVE))
    ]
    return sorted(found, key=lambda occupant: (not occupant.running, occupant.name))


def _forced(facts: SlotFacts, status: DbtTargetStatus) -> set[str]:
    known = {holder.uid for holder in status.holders or ()} | set(facts.occupants)
    return {facts.force_release} & known


def _releases(
    facts: SlotFacts, status: DbtTargetStatus, forced: Collection[str], now: datetime
) -> list[Release]:
    recorded = {release.uid for release in status.released or ()}
    names = {holder.uid: holder.name for holder in status.holders or ()}
    names |= {uid: occupant.name for uid, occupant in facts.occupants.items()}
    return [
        Release(name=names[uid], uid=uid, at=format_time(now))
        for uid in forced
        if uid not in recorded
    ]


def _holder(kind: str, name: str, uid: str, now: datetime, yielded: str) -> Holder:
    """A new slot; its time must not be that of the one that was given up, whatever the clock
    does.
    """
    since = exact_time(now)
    if since == yielded:
        since = exact_time(now + timedelta(microseconds=1))
    return Holder(kind=kind, name=name, uid=uid, since=since)


def exact_time(moment: datetime) -> str:
    """RFC 3339 with microseconds, as metav1.MicroTime."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
