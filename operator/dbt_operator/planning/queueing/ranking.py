"""The claims on a target's slots in their order, which is kept, not made anew for each that looks.

Thousands of runs may wait for one target, and each looks once a minute where it stands. So the
claims are put in order once a minute, as waiting raises their priority; in between only what has
changed is put elsewhere.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from dbt_operator.planning.queueing.claims import claims
from dbt_operator.planning.queueing.slots import Claim, order, rank

Manifest = Mapping[str, Any]

RANKED_FOR = timedelta(seconds=60)


@dataclass(frozen=True)
class Ranking:
    """The claims on a target's slots, in their order. Holders of slots may be among them.

    No method goes through all of them, but where many hold slots.
    """

    claims: tuple[Claim, ...] = ()
    by_uid: Mapping[str, Claim] = field(default_factory=dict)

    def find(self, uid: str) -> Claim | None:
        """The claim of a run or backfill; None if it has none."""
        return self.by_uid.get(uid)

    def count_waiting(self, held: Collection[str]) -> int:
        """How many claim a slot and hold none."""
        return len(self.claims) - sum(1 for uid in held if uid in self.by_uid)

    def count_before(self, mine: Claim, held: Collection[str]) -> int:
        """How many wait that come before a claim, which need not be among them."""
        holders = [found for uid in held if (found := self.by_uid.get(uid)) is not None]
        return self._index(mine) - sum(1 for each in holders if rank(each) < rank(mine))

    def iterate_before(self, mine: Claim, held: Collection[str]) -> Iterator[Claim]:
        """Who waits and comes before a claim, the first one first."""
        return (each for each in islice(self.claims, self._index(mine)) if each.uid not in held)

    def outranks(self, mine: Claim, held: Collection[str]) -> bool:
        """Whether somebody waits whose priority is higher than that of a claim without its waiting
        time.
        """
        for each in self.claims:
            if each.uid in held or each.uid == mine.uid:
                continue
            if each.effective_priority > mine.priority:
                return True
            if not each.begun:
                return False  # those that follow have a lower one
        return False

    def _index(self, mine: Claim) -> int:
        return bisect_left(self.claims, rank(mine), key=rank)


class TargetQueue:
    """What works on a target or wants to, and who of it claims a slot. Not thread-safe."""

    def __init__(self) -> None:
        self._runs: dict[str, Manifest] = {}
        self._changed: set[str] = set()  # UIDs, since the last look
        self._ranking = Ranking()
        self._ranked_at: datetime | None = None

    def put(self, run: Manifest) -> None:
        """Take in a run or backfill as it is now."""
        uid = run["metadata"]["uid"]
        self._runs[uid] = run
        self._changed.add(uid)

    def drop(self, uid: str) -> None:
        """Forget one that has ended or is gone."""
        self._runs.pop(uid, None)
        self._changed.add(uid)

    def rank(self, now: datetime) -> Ranking:
        """The claims in their order, as of a moment less than a minute ago."""
        made_at = self._ranked_at
        if made_at is None or not timedelta() <= now - made_at < RANKED_FOR:
            found = order(claims(self._runs.values(), now))
            self._ranking = Ranking(tuple(found), {each.uid: each for each in found})
            self._ranked_at = now
        elif self._changed:
            self._move_changed(made_at)
        self._changed.clear()
        return self._ranking

    def _move_changed(self, made_at: datetime) -> None:
        """Put the claims elsewhere that have changed, all of them as of the same moment."""
        moved: list[tuple[Claim | None, Claim | None]] = []
        for uid in self._changed:
            run, before = self._runs.get(uid), self._ranking.find(uid)
            after = next(iter(claims([run] if run is not None else [], made_at)), None)
            if before != after:
                moved.append((before, after))
        if not moved:
            return
        ordered, by_uid = list(self._ranking.claims), dict(self._ranking.by_uid)
        for before, after in moved:
            if before is not None:
                del ordered[bisect_left(ordered, rank(before), key=rank)]
                del by_uid[before.uid]
            if after is not None:
                ordered.insert(bisect_left(ordered, rank(after), key=rank), after)
                by_uid[after.uid] = after
        self._ranking = Ranking(tuple(ordered), by_uid)
