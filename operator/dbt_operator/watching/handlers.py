"""kopf's side: watch events go into the store, and the keys of what they concern into the queue.
Nothing else.

``on.event`` only, without finalizers, annotations or kopf's own retries: the queue retries, the
planners decide, and an operator that is away holds up no deletion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import kopf

from dbt_operator.api.base import GROUP, VERSION
from dbt_operator.api.registry import BACKFILL, KINDS, RUN, TARGET, Kind
from dbt_operator.api.status import Phase, Reason
from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.common.workqueue import WorkQueue
from dbt_operator.planning.attempt.pod_facts import foreign
from dbt_operator.planning.common.manifests import kind_of, parent_of, work
from dbt_operator.planning.common.names import RUN_LABEL, RUN_UID_LABEL, TARGET_LABEL

_REFERENCES = {"DbtProject": "projectRef", "DbtTarget": "targetRef"}
_ERROR_BACKOFFS = (
    1,
    2,
    3,
    5,
    8,
    13,
    21,
    34,
    60,
    60,
    60,
    60,
    60,
    60,
    60,
)  # 8 minutes, then watches.py begins anew


def register(registry: kopf.OperatorRegistry, store: Store, queue: WorkQueue[Key]) -> None:
    """Watch our kinds, and the Jobs and pods of runs."""
    for kind in KINDS:
        _watch_kind(registry, kind, store, queue)
    _watch_of_runs(registry, ("batch", "v1", "jobs"), "Job", store, queue)
    _watch_of_runs(registry, ("", "v1", "pods"), "Pod", store, queue)


def _watch_kind(
    registry: kopf.OperatorRegistry, kind: Kind, store: Store, queue: WorkQueue[Key]
) -> None:
    @kopf.on.event(GROUP, VERSION, kind.plural, registry=registry, id=kind.singular)
    async def observe(event: kopf.RawEvent, **_: Any) -> None:
        manifest = event["object"]
        _keep(store, kind.kind, event)
        for key in concerned(kind.kind, manifest, store, deleted=event["type"] == "DELETED"):
            queue.add(key)


def _watch_of_runs(
    registry: kopf.OperatorRegistry,
    resource: tuple[str, str, str],
    kind: str,
    store: Store,
    queue: WorkQueue[Key],
) -> None:
    @kopf.on.event(
        *resource, labels={RUN_UID_LABEL: kopf.PRESENT}, registry=registry, id=kind.lower()
    )
    async def observe(event: kopf.RawEvent, **_: Any) -> None:
        _keep(store, kind, event)
        for key in keys_of_part(kind, event["object"], store):
            queue.add(key)


def _keep(store: Store, kind: str, event: kopf.RawEvent) -> None:
    if event["type"] == "DELETED":
        (store.bury if kind == "Pod" else store.drop)(kind, event["object"])
    else:
        store.put(kind, event["object"])


def run_key(manifest: Mapping[str, Any]) -> Key:
    """The run that a Job or pod belongs to."""
    metadata = manifest["metadata"]
    return Key(RUN.kind, metadata["namespace"], metadata["labels"][RUN_LABEL])


def keys_of_part(kind: str, manifest: Mapping[str, Any], store: Store) -> Iterator[Key]:
    """What may have to be done when a Job or pod has changed: its run, and its target if the run
    has done with it; nothing where it is not ours.
    """
    if foreign(kind, manifest):
        return
    yield run_key(manifest)
    metadata = manifest["metadata"]
    run = store.get(RUN.kind, metadata["namespace"], metadata["labels"][RUN_LABEL])
    if run is None or "finishedAt" in run.get("status", {}):
        yield Key(TARGET.kind, metadata["namespace"], metadata["labels"][TARGET_LABEL])


def concerned(
    kind: str, manifest: Mapping[str, Any], store: Store, *, deleted: bool = False
) -> Iterator[Key]:
    """What may have to be done when an object has changed: that object, the runs that wait for it,
    the slot it held.
    """
    metadata = manifest["metadata"]
    yield Key(kind, metadata["namespace"], metadata["name"])
    if kind in (RUN.kind, BACKFILL.kind) and deleted:
        yield Key(TARGET.kind, metadata["namespace"], work(manifest)["targetRef"]["name"])
    if kind == RUN.kind and (parent := parent_of(manifest)):
        yield Key(BACKFILL.kind, metadata["namespace"], parent[0])
    if kind == BACKFILL.kind:
        for run in store.unfinished_children(metadata["uid"]):
            yield Key(RUN.kind, metadata["namespace"], run["metadata"]["name"])
    if kind == TARGET.kind:
        for run in _called(manifest, store):
            yield Key(kind_of(run), metadata["namespace"], run["metadata"]["name"])
    if reference := _REFERENCES.get(kind):
        for run in store.all_unfinished(metadata["namespace"]):
            if _waits_for(run, reference, metadata["name"]):
                yield Key(kind_of(run), metadata["namespace"], run["metadata"]["name"])


def _called(target: Mapping[str, Any], store: Store) -> Iterator[Mapping[str, Any]]:
    """The queued runs and backfills of a target that it has news for: a slot, or why there is
    none.
    """
    holders = target.get("status", {}).get("holders") or ()
    held = {holder["uid"] for holder in holders}
    lost = any(holder.get("lostPod") for holder in holders)
    for run in store.unfinished(target["metadata"]["namespace"], target["metadata"]["name"]):
        status = run.get("status", {})
        says_so = status.get("reason") == Reason.SLOT_HELD_BY_LOST_NODE
        if status.get("phase") == Phase.QUEUED and (
            run["metadata"]["uid"] in held or lost != says_so
        ):
            yield run


def _waits_for(run: Mapping[str, Any], reference: str, name: str) -> bool:
    status = run.get("status", {})
    waits = (
        "resolved" not in status
        and "finishedAt" not in status
        and status.get("phase") != Phase.QUEUED
    )
    return waits and work(run).get(reference, {}).get("name") == name


class _NoDiffs(kopf.DiffBaseStorage):
    """No handler wants diffs, and copying each object to be able to make one is half of what kopf
    would do.
    """

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        """Keep nothing."""


def configure(settings: kopf.OperatorSettings) -> None:
    """Make kopf patient with the API server, and quiet."""
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.networking.error_backoffs = _ERROR_BACKOFFS
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.reconnect_backoff = 1
    # kopf has a task for each object that it has just heard of, which keeps the object until it has
    # been idle for a while: ten thousand that are listed at once must not be in memory at once.
    settings.watching.chunk_size = 200
    settings.queueing.idle_timeout = 0.1
    settings.watching.label_selectors["batch", "v1", "jobs"] = RUN_UID_LABEL
    settings.watching.label_selectors["", "v1", "pods"] = RUN_UID_LABEL
    settings.persistence.finalizer = f"{GROUP}/finalizer"
    settings.persistence.progress_storage = kopf.StatusProgressStorage(field="status.kopf")
    settings.persistence.diffbase_storage = _NoDiffs()
