"""How a status is written: once a reconciliation, as a merge patch.

A status may hold fields that this operator does not know: after a step back to an older version of
the chart the CRDs, and what a later operator has written, stay. They are nobody's to remove here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from dbt_operator.api.status import Phase
from dbt_operator.cluster.client import Cluster
from dbt_operator.cluster.errors import NotFoundError
from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.planning.common.plan import Event, Plan
from dbt_operator.reconcile.effects import Effects
from dbt_operator.reconcile.waking import Written

Manifest = Mapping[str, Any]


class Writer:
    """Writes statuses, and sees to what follows. Safe to use from several threads."""

    def __init__(self, cluster: Cluster, store: Store, effects: Effects) -> None:
        self._cluster = cluster
        self._store = store
        self._effects = effects

    def write(self, key: Key, manifest: Manifest, planned: Plan) -> float | None:
        """Write what a plan says; the seconds after which the object wants to be looked at again.

        Raises:
            ClusterError: the API server refused or did not answer.
        """
        if planned.status is None:
            return planned.requeue_after
        old = manifest.get("status", {})
        known = type(planned.status).model_validate(old).to_dict()
        patch = merge_patch(old, keep_unknown(old, known, planned.status.to_dict()))
        if not patch:
            return planned.requeue_after
        return self.write_patch(key, manifest, patch, planned.events, planned.requeue_after)

    def write_patch(
        self,
        key: Key,
        manifest: Manifest,
        patch: Manifest,
        events: Iterable[Event] = (),
        requeue_after: float | None = None,
    ) -> float | None:
        """Merge something over what a status says, and tell everybody whom it concerns; the seconds
        after which the object wants to be looked at again.

        Raises:
            ClusterError: the API server refused or did not answer.
        """
        try:
            written = self._cluster.patch_status(key.kind, manifest, patch)
        except NotFoundError:
            self._store.drop(key.kind, manifest)
            return None
        self._store.put(key.kind, written)
        self._effects.follow(key, Written(written, patch), events)
        # A watch would say so too, only later.
        has_begun = "attempts" in patch and written["status"].get("phase") == Phase.PENDING
        return 0.0 if has_begun or "runs" in patch or "active" in patch else requeue_after


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What turns ``old`` into ``new`` as a JSON merge patch (RFC 7386); empty when nothing does."""
    patch: dict[str, Any] = {name: None for name in old if name not in new}
    for name, value in new.items():
        if isinstance(value, Mapping) and isinstance(old.get(name), Mapping):
            if inner := merge_patch(old[name], value):
                patch[name] = inner
        elif name not in old or old[name] != value:
            patch[name] = value
    return patch


def keep_unknown(old: Any, known: Any, new: Any) -> Any:
    """What is to be written instead of ``new``, so that nothing is lost of ``old`` that whoever
    planned has not seen.

    Items of a list keep what is unknown as long as what is known of them stays as it is.

    Args:
        old: what there is.
        known: what has been seen of it.
        new: what is to become of ``known``.
    """
    if old == known:
        return new
    if isinstance(old, Mapping) and isinstance(known, Mapping) and isinstance(new, Mapping):
        unseen = {name: value for name, value in old.items() if name not in known}
        return unseen | {
            name: keep_unknown(old.get(name), known.get(name), value) for name, value in new.items()
        }
    if isinstance(old, list) and isinstance(known, list) and isinstance(new, list):
        whole = {json.dumps(item): stored for item, stored in zip(known, old, strict=True)}
        return [whole.get(json.dumps(item), item) for item in new]
    return new
