"""What follows a write of a status: an event, a line of the log, and others are woken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog

from dbt_operator.cluster.client import Cluster
from dbt_operator.cluster.errors import ClusterError
from dbt_operator.cluster.projection import has_ended
from dbt_operator.common.keys import Key
from dbt_operator.planning.common.plan import Event
from dbt_operator.reconcile.delivering import Deliveries
from dbt_operator.reconcile.kinds import find_concerned_by_write
from dbt_operator.reconcile.log_fields import describe_end, identify
from dbt_operator.reconcile.waking import Written

log = structlog.get_logger()

Manifest = Mapping[str, Any]


class Effects:
    """Tells people and other objects what has been written. Safe to use from several threads."""

    def __init__(self, cluster: Cluster, wake: Callable[[Key], None]) -> None:
        self._cluster = cluster
        self._wake = wake
        self.deliveries: Deliveries | None = None  # of messages, where there are channels
        # Is told of each run and backfill that has ended, by its kind and as it is now.
        self.count_end: Callable[[str, Manifest], None] = lambda _kind, _ended: None

    def follow(self, key: Key, written: Written, events: Iterable[Event]) -> None:
        """Post the events of a plan, and wake everybody whom the write concerns."""
        for event in events:
            self._post(key, written.manifest, event)
        if "phase" in written.patch and has_ended(written.manifest):
            log.info(
                "ended", **vars(key), **identify(written.manifest), **describe_end(written.manifest)
            )
            self.count_end(key.kind, written.manifest)
        if self.deliveries is not None:
            self.deliveries.look(key, written.manifest)
        for concerned in find_concerned_by_write(written):
            self._wake(concerned)

    def _post(self, key: Key, manifest: Manifest, event: Event) -> None:
        """Events are for people; a lost one loses nothing."""
        log.info(event.reason, **vars(key), **identify(manifest), message=event.message)
        try:
            self._cluster.post_event(key.kind, manifest, event)
        except ClusterError as error:
            log.warning("event lost", name=key.name, error=str(error))
