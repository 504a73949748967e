"""Whom a change concerns: the keys of what may have to be reconciled because of it.

Watches tell of changes, and so does every write of ours, sooner. Each rule here is about one
relation between objects; which rules are those of a kind stands in its row in
:mod:`dbt_operator.reconcile.kinds`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dbt_operator.api.registry import BACKFILL, RUN, SCHEDULE, TARGET
from dbt_operator.api.status import Phase, Reason
from dbt_operator.cluster.projection import has_ended
from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.planning.attempt.pod_facts import foreign
from dbt_operator.planning.common.manifests import JOB, find_selectors, parent_of, schedule_of, work
from dbt_operator.planning.common.names import RUN_LABEL, TARGET_LABEL

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """What a watch or a list tells of an object."""

    manifest: Manifest
    store: Store
    deleted: bool = False


@dataclass(frozen=True)
class Written:
    """What has been written into an object's status."""

    manifest: Manifest  # as it is now
    patch: Manifest


ChangeRule = Callable[[Change], Iterator[Key]]
WriteRule = Callable[[Written], Iterator[Key]]


def key_of(manifest: Manifest) -> Key:
    """The key of an object that says of what kind it is."""
    metadata = manifest["metadata"]
    return Key(manifest["kind"], metadata["namespace"], metadata["name"])


# Rules for changes


def find_target_of_deleted(change: Change) -> Iterator[Key]:
    """The target of what is gone: it may have held a slot."""
    if change.deleted:
        yield _target_of(change.manifest)


def find_parent(change: Change | Written) -> Iterator[Key]:
    """The backfill that a run is part of."""
    if parent := parent_of(change.manifest):
        yield Key(BACKFILL.kind, change.manifest["metadata"]["namespace"], parent[0])


def find_schedule(change: Change | Written) -> Iterator[Key]:
    """The schedule that a run is of."""
    if owner := schedule_of(change.manifest):
        yield Key(SCHEDULE.kind, change.manifest["metadata"]["namespace"], owner[0])


def find_schedule_of_ended(written: Written) -> Iterator[Key]:
    """The schedule that a run is of, once that has ended."""
    if "phase" in written.patch and has_ended(written.manifest):
        yield from find_schedule(written)


def find_children(change: Change) -> Iterator[Key]:
    """What belongs to an object and has not ended."""
    for child in change.store.unfinished_children(change.manifest["metadata"]["uid"]):
        yield key_of(child)


def find_called(change: Change) -> Iterator[Key]:
    """The queued runs and backfills of a target that it has news for: a slot, or why there is
    none.
    """
    target = change.manifest
    holders = target.get("status", {}).get("holders") or ()
    held = {holder["uid"] for holder in holders}
    lost = any(holder.get("lostPod") for holder in holders)
    metadata = target["metadata"]
    for run in change.store.unfinished(metadata["namespace"], metadata["name"]):
        status = run.get("status", {})
        says_so = status.get("reason") == Reason.SLOT_HELD_BY_LOST_NODE
        has_news = run["metadata"]["uid"] in held or lost != says_so
        if status.get("phase") == Phase.QUEUED and has_news:
            yield key_of(run)


def find_waiting_for(reference: str) -> ChangeRule:
    """The rule that finds those who wait for an object to exist, which they name in a field."""

    def find(change: Change) -> Iterator[Key]:
        metadata = change.manifest["metadata"]
        for run in change.store.all_unfinished(metadata["namespace"]):
            named = work(run).get(reference, {}).get("name")
            if named == metadata["name"] and _waits(run.get("status", {})):
                yield key_of(run)

    return find


def _waits(status: Manifest) -> bool:
    """Whether it has not been admitted yet."""
    is_known = "resolved" in status or "finishedAt" in status
    return not is_known and status.get("phase") != Phase.QUEUED


def find_waiting(change: Change) -> Iterator[Key]:
    """The runs that wait for the success of an object, and the schedules that follow on it: it may
    have come.
    """
    manifest = change.manifest
    metadata = manifest["metadata"]
    for run in change.store.waiting_for(manifest["kind"], metadata["namespace"], metadata["name"]):
        yield key_of(run)


def find_waiting_for_end(change: Change) -> Iterator[Key]:
    """The runs that wait for the success of another one, once that has ended."""
    if change.deleted or has_ended(change.manifest):
        yield from find_waiting(change)


# Rules for writes


def find_target_with_news(written: Written) -> Iterator[Key]:
    """The target of a run or backfill that has ended, is queued, or has given its slot up."""
    patch, status = written.patch, written.manifest["status"]
    is_queued = status.get("phase") == Phase.QUEUED
    moved = "phase" in patch and (is_queued or has_ended(written.manifest))
    if "yieldedSlot" in patch or moved:
        yield _target_of(written.manifest)


def find_given_runs(written: Written) -> Iterator[Key]:
    """The runs that a backfill has given windows to."""
    for run in written.patch.get("runs") or ():
        yield Key(RUN.kind, written.manifest["metadata"]["namespace"], run["name"])


def find_active_runs(written: Written) -> Iterator[Key]:
    """The runs that a schedule has written down."""
    for run in written.patch.get("active") or ():
        kind = run.get("kind") or RUN.kind
        yield Key(kind, written.manifest["metadata"]["namespace"], run["name"])


def _target_of(manifest: Manifest) -> Key:
    namespace = manifest["metadata"]["namespace"]
    return Key(TARGET.kind, namespace, work(manifest)["targetRef"]["name"])


# Jobs and pods


def find_waiting_for_job(metadata: Manifest, store: Store) -> Iterator[Key]:
    """The runs that wait for a Job, whoever made it, by its name or its labels, and the schedules
    that follow on it.
    """
    namespace = metadata["namespace"]
    for run in store.waiting_for(JOB, namespace, metadata["name"]):
        yield key_of(run)
    labels = (metadata.get("labels") or {}).items()
    for run in store.waiting_for(JOB, namespace, ""):
        if any(labels >= selector.items() for selector in find_selectors(run)):
            yield key_of(run)


def run_key(part: Manifest) -> Key:
    """The run that a Job or pod belongs to."""
    metadata = part["metadata"]
    return Key(RUN.kind, metadata["namespace"], metadata["labels"][RUN_LABEL])


def find_concerned_by_part(kind: str, part: Manifest, store: Store) -> Iterator[Key]:
    """What may have to be done when a Job or pod has changed: its run, and its target if the run
    has done with it; nothing where it is not ours.
    """
    if foreign(kind, part):
        return
    yield run_key(part)
    metadata = part["metadata"]
    run = store.get(RUN.kind, metadata["namespace"], metadata["labels"][RUN_LABEL])
    if run is None or "finishedAt" in run.get("status", {}):
        yield Key(TARGET.kind, metadata["namespace"], metadata["labels"][TARGET_LABEL])
