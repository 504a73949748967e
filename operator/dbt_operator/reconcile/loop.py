"""Read, plan, act, write status once. Level-triggered: what woke it does not matter, only what
there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import structlog

from dbt_operator.api.kinds.project import DbtProject
from dbt_operator.api.kinds.target import DbtTarget
from dbt_operator.api.status import Phase, Reason
from dbt_operator.api.texts import NOTE, cut
from dbt_operator.cluster import live
from dbt_operator.cluster.client import (
    Cluster,
    ClusterError,
    ConflictError,
    InvalidError,
    NotFoundError,
    TooLargeError,
)
from dbt_operator.cluster.projection import MANAGED, PROJECTED, has_ended
from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.observing import backfill
from dbt_operator.observing.reader import Reader, identity_of
from dbt_operator.observing.run import Runs
from dbt_operator.planning import project as project_planner
from dbt_operator.planning import target as target_planner
from dbt_operator.planning.backfill import planner as backfill_planner
from dbt_operator.planning.common import reading
from dbt_operator.planning.common.durations import parse_time, seconds
from dbt_operator.planning.common.manifests import parent_of, work
from dbt_operator.planning.common.plan import DeleteJob, Event, Plan, SettleSlots
from dbt_operator.planning.common.reading import UnreadableError, read
from dbt_operator.planning.queueing.positions import LOOKS
from dbt_operator.planning.run import planner as run_planner
from dbt_operator.reconcile.actions import Actions
from dbt_operator.reconcile.slots import Slots, concerns_slot, holders_of, queued_behind
from dbt_operator.reconcile.write import merge_patch

log = structlog.get_logger()

Manifest = Mapping[str, Any]

_ROUNDS = 4  # of planning after an action, in one reconciliation
_END_LOOKS = 5.0  # seconds; while something lives of a run that can go no further
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
        self._reader = Reader(cluster, store, clock, runner_image)
        self._runs = Runs(self._reader)
        self._slots = Slots(cluster, store, clock)
        self._actions = Actions(cluster, store, self._slots, wake)

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
        try:
            if key.kind == "DbtTarget":
                return self._reconcile_target(key, manifest)
            if has_ended(manifest):
                self._call_target(key, manifest)
            if manifest.get(PROJECTED):
                return self._reconcile_ended(key, manifest)
            return self._write(key, manifest, self._carry_out(key, manifest))
        except UnreadableError as error:
            if error.uid != manifest["metadata"]["uid"]:
                raise
            return self._say_unreadable(key, error)
        except TooLargeError as error:
            return self._end_too_large(key, manifest, error)

    def _reconcile_target(self, key: Key, manifest: Manifest) -> float | None:
        """Its slots first, then what is said of it."""
        read(DbtTarget, manifest)
        now = self._clock()
        runs = self._store.unfinished(key.namespace, key.name)
        waiting_for: list[str] = []
        if self._slots.due(manifest, runs):
            settled = self._actions.settle(key.namespace, key.name)
            if settled is None:
                return None
            manifest, waiting_for = settled.target, settled.waiting_for
        queued = self._slots.queued(manifest, runs)
        for kind, name in queued_behind(manifest, runs):
            self._wake(Key(kind, key.namespace, name))
        planned = self._plan(key, manifest, queued=self._slots.told(manifest, queued, now))
        self._write(key, manifest, planned)
        if waiting_for:
            return _SLOT_LOOKS
        return LOOKS.total_seconds() if queued else None

    def _call_target(self, key: Key, ended: Manifest) -> None:
        """Have the slot of a run or backfill taken back: the answer to the write of its end may
        have been lost.
        """
        name = work(ended)["targetRef"]["name"]
        target = self._store.get("DbtTarget", key.namespace, name)
        if target is not None and any(
            h["uid"] == ended["metadata"]["uid"] for h in holders_of(target)
        ):
            self._wake(Key("DbtTarget", key.namespace, name))

    def _reconcile_ended(self, key: Key, projected: Manifest) -> float | None:
        """A run that has ended, of which little is kept: the whole of it is asked for when there is
        something to do.
        """
        self._runs.forget(key.namespace, key.name)
        left = self._left(projected)
        if not self._runs.strays(projected) and (left is None or left > 0):
            return left
        manifest = live.get(self._cluster, self._store, key.kind, key.namespace, key.name)
        if manifest is None:
            return None
        return self._write(key, manifest, self._carry_out(key, manifest))

    def _left(self, projected: Manifest) -> float | None:
        """How many seconds a run that has ended is kept; None: for ever."""
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
        planned = self._plan(key, manifest)
        asked = False
        for _ in range(_ROUNDS):
            if not planned.actions:
                return planned
            refusals = [
                refusal
                for action in planned.actions
                if (refusal := self._actions.take(manifest, action))
            ]
            if planned.requeue_after is not None:
                return planned
            asked |= any(isinstance(action, SettleSlots) for action in planned.actions)
            planned = self._plan(
                key, manifest, refusal="; ".join(refusals), asked=asked, acted=True
            )
        return planned

    def _plan(
        self,
        key: Key,
        manifest: Manifest,
        refusal: str = "",
        *,
        asked: bool = False,
        acted: bool = False,
        queued: int | None = None,
    ) -> Plan:
        now = self._clock()
        if key.kind == "DbtTarget":
            return target_planner.plan(
                read(DbtTarget, manifest), identity_of(manifest), now, queued
            )
        if key.kind == "DbtProject":
            return project_planner.plan(read(DbtProject, manifest), identity_of(manifest), now)
        if key.kind == "DbtBackfill":
            known = backfill.observe(self._reader, manifest, asked=asked)
            return backfill_planner.plan(replace(known, refusal=refusal), now)
        seen = self._runs.observe(manifest, acted=acted, asked=asked)
        return run_planner.plan(replace(seen, refusal=refusal), now)

    # What cannot go on

    def _say_unreadable(self, key: Key, error: UnreadableError) -> float | None:
        """An object that the models refuse stands still and says why. What it says already stays as
        it is.
        """
        manifest, now = error.manifest, self._clock()
        log.warning("cannot be read", **vars(key), part=error.part, error=error.why)
        if has_ended(manifest):
            return None  # what it has done it has done
        if error.part == "status":
            why = (
                f"{error.why}: nothing is done, and nothing but this is written, until that is "
                "mended"
            )
            patch = reading.stalled(manifest, why, reading.INVALID_STATUS, now)
            try:
                return self._write_patch(key, manifest, patch) if patch else None
            except InvalidError as refused:  # as a whole, for what stands in it
                log.warning("cannot say so either", **vars(key), error=str(refused))
                return None
        if key.kind == "DbtRun":
            return self._end_run(key, manifest, error.why, stop=False)
        patch = reading.wrong_spec(manifest, error.why, now)
        return self._write_patch(key, manifest, patch) if patch else None

    def _end_too_large(self, key: Key, manifest: Manifest, error: TooLargeError) -> float | None:
        """What has to be written of an object is larger than an object may be: it ends, and others
        get its slot.
        """
        if key.kind not in ("DbtRun", "DbtBackfill") or has_ended(manifest):
            raise error
        log.warning("too large", **vars(key), error=str(error))
        remedy = "shorten spec.vars and the selections, or take fewer steps, in a new one"
        why = f"its status does not fit into an object of the API server ({error}): {remedy}"
        if key.kind == "DbtRun":
            return self._end_run(key, manifest, why, stop=True)
        return self._end(key, manifest, why)

    def _end_run(self, key: Key, manifest: Manifest, why: str, *, stop: bool) -> float | None:
        """The end of a run that can go no further, when nothing of it lives any more.

        What is at work goes on to its own end, unless it is to be stopped; what waits to begin does
        not begin.
        """
        if not manifest.get("status", {}).get("attempts"):
            return self._end(key, manifest, why)
        left = self._runs.left_of(manifest)
        for job in left.jobs if stop or not left.at_work else ():
            self._actions.take(manifest, DeleteJob(job.name, job.uid))
        if not left.jobs and not left.at_work:
            return self._end(key, manifest, why)
        if not stop and (patch := reading.wrong_spec(manifest, why, self._clock())):
            self._write_patch(key, manifest, patch)
        return _END_LOOKS

    def _end(self, key: Key, manifest: Manifest, why: str) -> float | None:
        patch = reading.ended(key.kind, manifest, why, self._clock())
        event = Event("Warning", Reason.INVALID_SPEC, cut(why, NOTE))
        try:
            return self._write_patch(key, manifest, patch, (event,)) if patch else None
        except TooLargeError:
            # It is full to the brim. An end needs nothing that Jobs are built from.
            return self._write_patch(key, manifest, patch | {"resolved": None}, (event,))

    # Writing

    def _write(self, key: Key, manifest: Manifest, planned: Plan) -> float | None:
        patch = (
            merge_patch(manifest.get("status", {}), planned.status.to_dict())
            if planned.status
            else {}
        )
        if not patch:
            return planned.requeue_after
        return self._write_patch(key, manifest, patch, planned.events, planned.requeue_after)

    def _write_patch(
        self,
        key: Key,
        manifest: Manifest,
        patch: Manifest,
        events: Iterable[Event] = (),
        requeue_after: float | None = None,
    ) -> float | None:
        """Merge something over what a status says, and tell everybody whom it concerns."""
        try:
            written = self._cluster.patch_status(key.kind, manifest, patch)
        except NotFoundError:
            self._store.drop(key.kind, manifest)
            return None
        self._store.put(key.kind, written)
        for event in events:
            self._post(key, written, event)
        for concerned in _concerned(key, patch, written):
            self._wake(concerned)
        if "attempts" in patch and written["status"].get("phase") == Phase.PENDING:
            return 0.0  # the watch would say so too, only later
        return 0.0 if "runs" in patch else requeue_after

    def _post(self, key: Key, manifest: Manifest, event: Event) -> None:
        """Events are for people; a lost one loses nothing."""
        log.info(
            event.reason,
            kind=key.kind,
            namespace=key.namespace,
            name=key.name,
            message=event.message,
        )
        try:
            self._cluster.post_event(key.kind, manifest, event)
        except ClusterError as error:
            log.warning("event lost", name=key.name, error=str(error))


def _concerned(key: Key, patch: Manifest, written: Manifest) -> Iterator[Key]:
    """Whom a write is news for. Watches would tell them, too, only later."""
    if key.kind not in ("DbtRun", "DbtBackfill"):
        return
    if concerns_slot(patch, written):
        yield Key("DbtTarget", key.namespace, work(written)["targetRef"]["name"])
    if key.kind == "DbtRun" and (parent := parent_of(written)):
        yield Key("DbtBackfill", key.namespace, parent[0])
    for run in patch.get("runs") or ():
        yield Key("DbtRun", key.namespace, run["name"])
