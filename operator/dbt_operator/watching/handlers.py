"""kopf's side: watch events go into the store, and the keys of what they concern into the queue.
Nothing else.

``on.event`` only, without finalizers, annotations or kopf's own retries: the queue retries, the
planners decide, and an operator that is away holds up no deletion.
"""

from __future__ import annotations

from typing import Any

import kopf

from dbt_operator.api.base import GROUP, VERSION
from dbt_operator.api.registry import KINDS, Kind
from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.common.workqueue import WorkQueue
from dbt_operator.planning.common.names import RUN_UID_LABEL
from dbt_operator.reconcile.kinds import find_concerned
from dbt_operator.reconcile.waking import Change, find_concerned_by_part

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
        _keep(store, kind.kind, event)
        manifest = {**event["object"], "kind": kind.kind}
        change = Change(manifest, store, deleted=event["type"] == "DELETED")
        for key in find_concerned(change):
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
        for key in find_concerned_by_part(kind, event["object"], store):
            queue.add(key)


def _keep(store: Store, kind: str, event: kopf.RawEvent) -> None:
    if event["type"] == "DELETED":
        (store.bury if kind == "Pod" else store.drop)(kind, event["object"])
    else:
        store.put(kind, event["object"])


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
