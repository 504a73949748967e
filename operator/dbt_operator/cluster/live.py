"""Asks for an object as it is now, where what is known of it may be too old or too little."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dbt_operator.cluster.client import Cluster
from dbt_operator.cluster.errors import NotFoundError
from dbt_operator.cluster.store import Store

Manifest = Mapping[str, Any]


def get(cluster: Cluster, store: Store, kind: str, namespace: str, name: str) -> Manifest | None:
    """An object as it is now, which the store is told, too; None where there is none.

    Raises:
        ClusterError: the API server refused or did not answer.
    """
    known = store.get(kind, namespace, name)
    try:
        manifest = cluster.get(kind, namespace, name)
    except NotFoundError:
        if known is not None:
            store.drop(kind, known)
        return None
    store.put(kind, manifest)
    return manifest
