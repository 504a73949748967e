"""What follows a write of a status: an event, a line of the log, and others are woken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog

from dbt_operator.cluster.client import Cluster
from dbt_operator.cluster.errors import ClusterError
from dbt_operator.common.keys import Key
from dbt_operator.planning.common.plan import Event
from dbt_operator.reconcile.delivering import Deliveries
from dbt_operator.reconcile.kinds import find_concerned_by_write
from dbt_operator.reconcile.waking import Written

log = structlog.get_logger()

Manifest = Mapping[str, Any]


class Effects:
    """Tells people and other objects what has been written. Safe to use from several threads."""

    def __init__(self, cluster: Cluster, wake: Callable[[Key], None]) -> None:
        self._cluster = cluster
        self._wake = wake
        self.deliveries: Deliveries | None = None  # of messages, where there are channels

    def follow(self, key: Key, written: Written, events: Iterable[Event]) -> None:
        """Post the events of a plan, and wake everybody whom the write concerns."""
        for event in events:
            self._post(key, written.manifest, event)
        if self.deliveries is not None:
            self.deliveries.look(key, written.manifest)
        for concerned in find_concerned_by_write(written):
            self._wake(concerned)

    def _post(self, key: Key, manifest: Manifest, event: Event) -> None:
        """Events are for people; a lost one loses nothing."""
        log.info(event.reason, **vars(key), message=event.message)
        try:
            self._cluster.post_event(key.kind, manifest, event)
        except ClusterError as error:
            log.warning("event lost", name=key.name, error=str(error))
