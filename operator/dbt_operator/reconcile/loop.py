"""Read, plan, act, write status once. Level-triggered: what woke it does not matter, only what
there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import structlog

from dbt_operator.api.kinds.target import DbtTarget
from dbt_operator.api.registry import TARGET
from dbt_operator.cluster import live
from dbt_operator.cluster.client import Cluster
from dbt_operator.cluster.errors import ConflictError, TooLargeError
from dbt_operator.cluster.projection import EDITED, MANAGED, PROJECTED, has_ended
from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.observing.reader import Reader
from dbt_operator.observing.run import Runs
from dbt_operator.planning.common.durations import parse_time, seconds
from dbt_operator.planning.common.manifests import work
from dbt_operator.planning.common.plan import Plan, SettleSlots
from dbt_operator.planning.common.reading import UnreadableError, read
from dbt_operator.planning.queueing.positions import LOOKS
from dbt_operator.reconcile.actions import Actions
from dbt_operator.reconcile.delivering import Deliveries
from dbt_operator.reconcile.effects import Effects
from dbt_operator.reconcile.endings import Endings
from dbt_operator.reconcile.kinds import ROWS, Round, Sources
from dbt_operator.reconcile.slots import Slots, find_holders, holders_of
from dbt_operator.reconcile.waking import key_of
from dbt_operator.reconcile.write import Writer

log = structlog.get_logger()

Manifest = Mapping[str, Any]

_ROUNDS = 4  # of planning after an action, in one reconciliation
_SLOT_LOOKS = 2.0  # seconds; while something of a holder lives that has ended


class Reconciler:
    """Brings one object nearer to what it asks for. Safe to call at any time and from several
    threads.
    """

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        runner_image: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        wake: Callable[[Key], None] = lambda _: None,
    ) -> None:
        """``wake`` has another object reconciled soon; it is a short cut, as a watch would do so
        too.
        """
        self._cluster = cluster
        self._store = store
        self._clock = clock
        self._wake = wake
        reader = Reader(cluster, store, clock, runner_image)
        self._reader = reader
        self._deliveries: Deliveries | None = None
        self._runs = Runs(reader)
        self._sources = Sources(reader, self._runs)
        self._slots = Slots(cluster, store, clock)
        self._actions = Actions(cluster, store, self._slots, wake)
        self._effects = Effects(cluster, wake)
        self._writer = Writer(cluster, store, self._effects)
        self._endings = Endings(self._writer, self._actions, self._runs, clock)

    def tell_by(self, deliveries: Deliveries) -> None:
        """Have people told of what happens. Without it there are no channels."""
        self._deliveries = self._effects.deliveries = deliveries
        self._reader.channels = deliveries.channels

    def count_ends_by(self, count: Callable[[str, Manifest], None]) -> None:
        """Have each run and backfill counted that ends, by its kind and as it is then."""
        self._effects.count_end = count

    def reconcile(self, key: Key) -> float | None:
        """Reconcile an object; the seconds after which it wants to be looked at again, or None.

        Raises:
            ClusterError: the API server refused or did not answer; try again.
        """
        manifest = self._store.get(key.kind, key.namespace, key.name)
        if manifest is None or manifest["metadata"].get("deletionTimestamp"):
            self._runs.forget(key.namespace, key.name)
            return None  # the Jobs belong to it and go with it
        try:
            return self._reconcile(key, manifest)
        except ConflictError:
            # Something newer exists: look at it instead of at what the watch has not delivered yet.
            live.get(self._cluster, self._store, key.kind, key.namespace, key.name)
            return 0.0

    def _reconcile(self, key: Key, manifest: Manifest) -> float | None:
        if self._deliveries is not None:
            self._deliveries.look(key, manifest)
        try:
            if ROWS[key.kind].has_slots:
                return self._reconcile_target(key, manifest)
            if has_ended(manifest):
                self._call_target(key, manifest)
            if manifest.get(PROJECTED):
                return self._reconcile_projected(key, manifest)
            return self._writer.write(key, manifest, self._carry_out(key, manifest))
        except UnreadableError as error:
            if error.uid != manifest["metadata"]["uid"]:
                raise
            return self._endings.say_unreadable(key, error)
        except TooLargeError as error:
            return self._endings.end_too_large(key, manifest, error)

    def _reconcile_target(self, key: Key, manifest: Manifest) -> float | None:
        """Its slots first, then what is said of it."""
        read(DbtTarget, manifest)
        now = self._clock()
        runs = self._store.unfinished(key.namespace, key.name)
        waiting_for: list[str] = []
        if self._slots.needs_settling(manifest, runs):
            settled = self._actions.settle(key.namespace, key.name)
            if settled is None:
                return None
            manifest, waiting_for = settled.target, settled.waiting_for
        queued = self._slots.count_queued(manifest)
        for holder in find_holders(manifest, runs) if queued else ():
            if ROWS[holder["kind"]].may_yield(holder):
                self._wake(key_of(holder))
        done = Round(queued=self._slots.find_queued_to_tell(manifest, queued, now))
        self._writer.write(key, manifest, self._plan(key, manifest, done))
        if waiting_for:
            return _SLOT_LOOKS
        return LOOKS.total_seconds() if queued else None

    def _call_target(self, key: Key, ended: Manifest) -> None:
        """Have the slot of a run or backfill taken back: the answer to the write of its end may
        have been lost.
        """
        name = work(ended)["targetRef"]["name"]
        target = self._store.get(TARGET.kind, key.namespace, name)
        if target is None:
            return
        if any(holder["uid"] == ended["metadata"]["uid"] for holder in holders_of(target)):
            self._wake(key_of(target))

    def _reconcile_projected(self, key: Key, projected: Manifest) -> float | None:
        """A run that has ended, of which little is kept: the whole of it is asked for when there is
        something to do.
        """
        self._runs.forget(key.namespace, key.name)
        left = self._seconds_kept(projected)
        is_due = left is not None and left <= 0
        leaves_parts = (
            self._runs.strays(projected)
            or self._runs.outliving(projected)
            or self._runs.unmarked(projected)
        )
        if not leaves_parts and not projected[EDITED] and not is_due:
            return left
        manifest = live.get(self._cluster, self._store, key.kind, key.namespace, key.name)
        if manifest is None:
            return None
        return self._writer.write(key, manifest, self._carry_out(key, manifest))

    def _seconds_kept(self, projected: Manifest) -> float | None:
        """How many seconds a run that has ended is still kept; None: for ever."""
        ttl = projected["spec"].get("ttlAfterFinished")
        if ttl is None or not projected["status"]["finishedAt"]:
            return None
        if projected[MANAGED]:
            return 0.0  # it is to be said that this is without effect
        try:
            ended = parse_time(projected["status"]["finishedAt"])
            return seconds(ttl) - (self._clock() - ended).total_seconds()
        except (ValueError, TypeError) as error:
            log.warning("is kept", name=projected["metadata"]["name"], error=str(error))
            return None

    def _carry_out(self, key: Key, manifest: Manifest) -> Plan:
        """Plan and act until nothing is left to do but to write the status, or to wait."""
        done = Round()
        planned = self._plan(key, manifest, done)
        for _ in range(_ROUNDS):
            if not planned.actions:
                return planned
            answers = [self._actions.take(manifest, action) for action in planned.actions]
            if planned.requeue_after is not None:
                return planned
            asks = any(isinstance(action, SettleSlots) for action in planned.actions)
            done = replace(
                done,
                acted=True,
                asked=done.asked or asks,
                refusal="; ".join(answer for answer in answers if answer),
            )
            planned = self._plan(key, manifest, done)
        return planned

    def _plan(self, key: Key, manifest: Manifest, done: Round) -> Plan:
        return ROWS[key.kind].plan(self._sources, manifest, done, self._clock())
