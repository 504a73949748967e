"""Settles who holds the slots of targets: lists what there is live, asks
:mod:`planning.queueing.slots`, writes the answer.

The write is a compare-and-swap on the DbtTarget as it was known *before* Jobs and pods were listed,
so whoever works on older knowledge, here or in another process, is refused and looks again.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from dbt_operator.api.kinds.target import DbtTarget
from dbt_operator.api.registry import BY_NAME
from dbt_operator.cluster import live
from dbt_operator.cluster.client import Cluster
from dbt_operator.cluster.errors import ConflictError, NotFoundError
from dbt_operator.cluster.projection import has_ended
from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.planning.attempt.pod_facts import PodFacts, foreign, job_facts, pod_facts
from dbt_operator.planning.common.durations import parse_time
from dbt_operator.planning.common.names import (
    BACKFILL_LABEL,
    FORCE_RELEASE,
    HOLDER_LABEL,
    RUN_LABEL,
)
from dbt_operator.planning.common.reading import UnreadableError, read
from dbt_operator.planning.queueing import slots
from dbt_operator.planning.queueing.claims import claim
from dbt_operator.planning.queueing.positions import LOOKS
from dbt_operator.planning.queueing.slots import Allocation, Claim, Occupant, State

log = structlog.get_logger()

Manifest = Mapping[str, Any]

_NEVER = datetime.min.replace(tzinfo=UTC)
_OVERDUE = timedelta(seconds=30)  # after the end of its grace period a pod's node is taken for lost


@dataclass(frozen=True)
class Settled:
    """A target as it was written, and what that leaves to be done."""

    target: Manifest
    granted: list[Claim]
    waiting_for: list[str]  # holders that have ended, something of which lives


class Slots:
    """The slots of all targets. Safe to use from several threads and from several operators at a
    time.
    """

    def __init__(self, cluster: Cluster, store: Store, clock: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self._store = store
        self._clock = clock
        # When the slots of a target were settled, and when status.queued was last changed: by UID.
        self._settled: dict[str, datetime] = {}
        self._told: dict[str, datetime] = {}
        # Within this process nobody need lose a compare-and-swap.
        self._locks: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)

    def settle(self, namespace: str, name: str, asking: Manifest | None = None) -> Settled | None:
        """Take back what is free and give it to those whose turn it is, ``asking`` among them; None
        without a target.

        Raises:
            ConflictError: somebody else has written the target meanwhile.
            ClusterError: the API server refused or did not answer.
            UnreadableError: nobody can tell how many slots the target has, or who holds them.
        """
        with self._locks[namespace, name]:
            # What is known may be old. Then the write is refused, and the next look is at what
            # there is.
            manifest = self._store.get("DbtTarget", namespace, name)
            manifest = manifest or self._ask_live("DbtTarget", namespace, name)
            if manifest is None:
                return None
            found = self._allocate(namespace, name, manifest, asking)
            try:
                written = self._write(manifest, found)
            except (ConflictError, NotFoundError):
                if self._ask_live("DbtTarget", namespace, name) is None:
                    return None
                raise
            self._settled[manifest["metadata"]["uid"]] = self._clock()
            self._store.put("DbtTarget", written)
            return Settled(written, found.granted, found.waiting_for)

    def _ask_live(self, kind: str, namespace: str, name: str) -> Manifest | None:
        return live.get(self._cluster, self._store, kind, namespace, name)

    def holds(self, namespace: str, target: str, uid: str) -> bool:
        """Whether somebody holds a slot now, asked live."""
        manifest = self._ask_live("DbtTarget", namespace, target)
        return manifest is not None and any(holder["uid"] == uid for holder in holders_of(manifest))

    def needs_settling(self, target: Manifest, runs: Iterable[Manifest]) -> bool:
        """Whether there seems to be something to settle, from what is known of a target and of what
        works on it.
        """
        known = {run["metadata"]["uid"]: run for run in runs}
        is_wanted = self.count_queued(target) > 0
        return (
            _has_given_up(target, known)
            or (is_wanted and _has_free_slot(target))
            or (is_wanted and self._is_overdue(target))
            or _is_forced(target)
        )

    def _is_overdue(self, target: Manifest) -> bool:
        """Whether the slots have not been settled for so long that something was missed."""
        settled_at = self._settled.get(target["metadata"]["uid"], _NEVER)
        return self._clock() >= settled_at + LOOKS

    def count_queued(self, target: Manifest) -> int:
        """How many runs and backfills wait for a slot, as far as is known."""
        metadata = target["metadata"]
        ranking = self._store.rank(metadata["namespace"], metadata["name"], self._clock())
        return ranking.count_waiting({holder["uid"] for holder in holders_of(target)})

    def find_queued_to_tell(self, target: Manifest, queued: int, now: datetime) -> int:
        """What a target's status is to say of its queue: that changes at once from and to 0, else
        once a minute.
        """
        uid = target["metadata"]["uid"]
        said = target.get("status", {}).get("queued") or 0
        if said == queued:
            return queued
        is_news = not said or not queued
        if not is_news and now < self._told.get(uid, _NEVER) + LOOKS:
            return int(said)
        self._told[uid] = now
        return queued

    def _allocate(
        self, namespace: str, name: str, manifest: Manifest, asking: Manifest | None
    ) -> Allocation:
        occupants = self._list_occupants(namespace, name)
        known = {holder["uid"]: (holder["kind"], holder["name"]) for holder in holders_of(manifest)}
        known |= {uid: (occupant.kind, occupant.name) for uid, occupant in occupants.items()}
        runs = {
            uid: self._find_run(Key(kind, namespace, who), uid)
            for uid, (kind, who) in known.items()
        }
        facts = slots.SlotFacts(
            target=read(DbtTarget, manifest),
            states={uid: _find_state(run) for uid, run in runs.items()},
            occupants=occupants,
            yielded={uid: _find_yielded_slot(run) for uid, run in runs.items()},
            claims=self._collect_claims(namespace, name, asking),
            force_release=_find_forced(manifest),
        )
        while True:
            found = slots.allocate(facts, self._clock())
            unreadable = {each.uid for each in found.granted if self._stands_still(namespace, each)}
            if not unreadable:
                return found
            left = [each for each in facts.claims if each.uid not in unreadable]
            facts = replace(facts, claims=left)

    def _stands_still(self, namespace: str, claim: Claim) -> bool:
        """Whether somebody could do nothing with a slot, and would keep it, since it cannot be
        read.
        """
        run = self._store.get(claim.kind, namespace, claim.name)
        if run is None or run["metadata"]["uid"] != claim.uid:
            return False
        try:
            read(BY_NAME[claim.kind].model, run)
        except UnreadableError:
            return True
        return False

    def _list_occupants(self, namespace: str, target: str) -> dict[str, Occupant]:
        found: dict[str, Occupant] = {}
        for job in self._cluster.unfinished_jobs_of_target(namespace, target):
            if not foreign("Job", job) and not job_facts(job).ended:
                occupant = _find_occupant(found, job)
                found[occupant.uid] = replace(occupant, job=True)
        for pod in self._cluster.living_pods_of_target(namespace, target):
            facts = pod_facts(pod)
            if foreign("Pod", pod) or facts.ended:
                continue
            occupant = _find_occupant(found, pod)
            lost = occupant.lost_pod or self._find_lost_pod(pod, facts)
            found[occupant.uid] = (
                replace(occupant, gated=True)
                if facts.gated
                else replace(occupant, running=True, lost_pod=lost)
            )
        return found

    def _find_lost_pod(self, pod: Manifest, facts: PodFacts) -> str:
        """The pod, if it should have ended by now: its deletionTimestamp is the end of its grace
        period.
        """
        due = pod["metadata"].get("deletionTimestamp")
        if due is None or self._clock() < parse_time(due) + _OVERDUE:
            return ""
        return f"{facts.name} on node {pod['spec'].get('nodeName', '?')}"

    def _find_run(self, key: Key, uid: str) -> Manifest | None:
        """A run or backfill as it is known, and asked for live before it is taken for deleted."""
        run = self._store.get(key.kind, key.namespace, key.name)
        if run is None or run["metadata"]["uid"] != uid:
            run = self._ask_live(key.kind, key.namespace, key.name)
        return run if run is not None and run["metadata"]["uid"] == uid else None

    def _collect_claims(self, namespace: str, target: str, asking: Manifest | None) -> list[Claim]:
        now = self._clock()
        known = self._store.rank(namespace, target, now).claims
        if asking is None:
            return list(known)
        uid = asking["metadata"]["uid"]
        return [*(each for each in known if each.uid != uid), claim(asking, now)]

    def _write(self, manifest: Manifest, found: Allocation) -> Manifest:
        status = manifest.get("status", {})
        wanted: dict[str, Any] = {"holders": [holder.to_dict() for holder in found.holders]}
        if found.released:
            wanted["released"] = [release.to_dict() for release in found.released]
        if all(status.get(field, []) == value for field, value in wanted.items()):
            return manifest
        log.info(
            "slots",
            namespace=manifest["metadata"]["namespace"],
            target=manifest["metadata"]["name"],
            holders=[holder.name for holder in found.holders],
            queued=found.queued,
        )
        return self._cluster.patch_status("DbtTarget", manifest, wanted | {"queued": found.queued})


def holders_of(target: Manifest) -> Iterable[Manifest]:
    """The holders that stand in a target's status."""
    return target.get("status", {}).get("holders") or ()


def find_holders(target: Manifest, runs: Iterable[Manifest]) -> list[Manifest]:
    """Those of some runs and backfills that hold a slot of a target."""
    held = {holder["uid"] for holder in holders_of(target)}
    return [run for run in runs if run["metadata"]["uid"] in held]


def _has_given_up(target: Manifest, known: Mapping[str, Manifest]) -> bool:
    """Whether a holder of a slot does not need it any more, or is not known.

    Args:
        target: the target.
        known: what works on it, by UID.
    """
    return any(
        holder["uid"] not in known or _find_yielded_slot(known[holder["uid"]]) == holder["since"]
        for holder in holders_of(target)
    )


def _has_free_slot(target: Manifest) -> bool:
    held = {holder["uid"] for holder in holders_of(target)}
    return len(held) < (target["spec"].get("maxConcurrentRuns") or 1)


def _find_forced(target: Manifest) -> str:
    """The UID of the holder whose slot is to be released by force; empty if there is none."""
    return str((target["metadata"].get("annotations") or {}).get(FORCE_RELEASE, ""))


def _is_forced(target: Manifest) -> bool:
    """Whether somebody holds a slot that is to be released by force."""
    forced = _find_forced(target)
    return bool(forced) and any(holder["uid"] == forced for holder in holders_of(target))


def _find_yielded_slot(run: Manifest | None) -> str:
    """Since of the slot that a run or backfill has given up; empty if it has given up none."""
    return str((run or {}).get("status", {}).get("yieldedSlot", ""))


def _find_occupant(found: Mapping[str, Occupant], manifest: Manifest) -> Occupant:
    """What is known so far of the one whom a Job or pod works for."""
    labels = manifest["metadata"]["labels"]
    uid = labels[HOLDER_LABEL]
    if uid in found:
        return found[uid]
    if backfill := labels.get(BACKFILL_LABEL):
        return Occupant("DbtBackfill", backfill, uid)
    return Occupant("DbtRun", labels[RUN_LABEL], uid)


def _find_state(run: Manifest | None) -> State:
    if run is None:
        return State.GONE
    return State.ENDED if has_ended(run) else State.ACTIVE
