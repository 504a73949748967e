"""Read, plan, act, write status once. Level-triggered: what woke it does not matter, only what there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import structlog
from pydantic import ValidationError

from dbt_operator import backfills, live
from dbt_operator.actions import Actions
from dbt_operator.api.base import Model
from dbt_operator.api.project import DbtProject
from dbt_operator.api.run import DbtRunStatus
from dbt_operator.api.status import Condition, ConditionType, Phase, Reason
from dbt_operator.api.target import DbtTarget
from dbt_operator.cluster import Cluster, ClusterError, ConflictError, NotFoundError
from dbt_operator.keys import Key
from dbt_operator.observing import Reader, Runs, identity_of
from dbt_operator.planning import backfill as backfill_planner
from dbt_operator.planning import project as project_planner
from dbt_operator.planning import run as run_planner
from dbt_operator.planning import target as target_planner
from dbt_operator.planning.conditions import Conditions
from dbt_operator.planning.duration import parse_time, seconds
from dbt_operator.planning.observed import parent_of, work
from dbt_operator.planning.plan import Event, Plan, SettleSlots
from dbt_operator.planning.queue import LOOKS
from dbt_operator.projection import MANAGED, PROJECTED, has_ended
from dbt_operator.slots import Slots, concerns_slot, holders_of, queued_behind
from dbt_operator.store import Store

log = structlog.get_logger()

Manifest = Mapping[str, Any]

_ROUNDS = 4  # of planning after an action, in one reconciliation
_SLOT_LOOKS = 2.0  # seconds; while something of a holder lives that has ended


class Reconciler:
    """Brings one object nearer to what it asks for. Safe to call at any time and from several threads."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        runner_image: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        wake: Callable[[Key], None] = lambda _: None,
    ) -> None:
        """``wake`` has another object reconciled soon; it is a short cut, as a watch would do so too."""
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
            if key.kind == "DbtTarget":
                return self._reconcile_target(key, manifest)
            if has_ended(manifest):
                self._call_target(key, manifest)
            if manifest.get(PROJECTED):
                return self._reconcile_ended(key, manifest)
            return self._write(key, manifest, self._carry_out(key, manifest))
        except ConflictError:
            # Something newer exists: look at it instead of at what the watch has not delivered yet.
            live.get(self._cluster, self._store, key.kind, key.namespace, key.name)
            return 0.0

    def _reconcile_target(self, key: Key, manifest: Manifest) -> float | None:
        """Its slots first, then what is said of it."""
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
        """Have the slot of a run or backfill taken back: the answer to the write of its end may have been lost."""
        name = work(ended)["targetRef"]["name"]
        target = self._store.get("DbtTarget", key.namespace, name)
        if target is not None and any(h["uid"] == ended["metadata"]["uid"] for h in holders_of(target)):
            self._wake(Key("DbtTarget", key.namespace, name))

    def _reconcile_ended(self, key: Key, projected: Manifest) -> float | None:
        """A run that has ended, of which little is kept: the whole of it is asked for when there is something to do."""
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
        ended = parse_time(projected["status"]["finishedAt"])
        return seconds(ttl) - (self._clock() - ended).total_seconds()

    def _carry_out(self, key: Key, manifest: Manifest) -> Plan:
        """Plan and act until nothing is left to do but to write the status, or to wait."""
        planned = self._plan(key, manifest)
        asked = False
        for _ in range(_ROUNDS):
            if not planned.actions:
                return planned
            refusals = [refusal for action in planned.actions if (refusal := self._actions.take(manifest, action))]
            if planned.requeue_after is not None:
                return planned
            asked |= any(isinstance(action, SettleSlots) for action in planned.actions)
            planned = self._plan(key, manifest, refusal="; ".join(refusals), asked=asked, acted=True)
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
        try:
            if key.kind == "DbtTarget":
                return target_planner.plan(DbtTarget.model_validate(manifest), identity_of(manifest), now, queued)
            if key.kind == "DbtProject":
                return project_planner.plan(DbtProject.model_validate(manifest), identity_of(manifest), now)
            if key.kind == "DbtBackfill":
                known = backfills.observe(self._reader, manifest, asked=asked)
                return backfill_planner.plan(replace(known, refusal=refusal), now)
            seen = self._runs.observe(manifest, acted=acted, asked=asked)
            return run_planner.plan(replace(seen, refusal=refusal), now)
        except ValidationError as error:
            return _invalid(key, manifest, error, now)

    # Writing

    def _write(self, key: Key, manifest: Manifest, planned: Plan) -> float | None:
        patch = merge_patch(manifest.get("status", {}), planned.status.to_dict()) if planned.status else {}
        if not patch:
            return planned.requeue_after
        try:
            written = self._cluster.patch_status(key.kind, manifest, patch)
        except NotFoundError:
            self._store.drop(key.kind, manifest)
            return None
        self._store.put(key.kind, written)
        for event in planned.events:
            self._post(key, written, event)
        for concerned in _concerned(key, patch, written):
            self._wake(concerned)
        if "attempts" in patch and written["status"]["phase"] == Phase.PENDING:
            return 0.0  # the watch would say so too, only later
        return 0.0 if "runs" in patch else planned.requeue_after

    def _post(self, key: Key, manifest: Manifest, event: Event) -> None:
        """Events are for people; a lost one loses nothing."""
        log.info(event.reason, kind=key.kind, namespace=key.namespace, name=key.name, message=event.message)
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


def _invalid(key: Key, manifest: Manifest, error: ValidationError, now: datetime) -> Plan:
    """An object that CEL let through and the models do not: said once, in its status."""
    first = error.errors()[0]
    message = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    generation = manifest["metadata"]["generation"]
    known = [Condition.model_validate(each) for each in manifest.get("status", {}).get("conditions") or ()]
    conditions = Conditions.of(known, generation, now)
    conditions.stalled(Reason.INVALID_SPEC, message)
    if key.kind != "DbtRun":
        return Plan(_Minimal(observed_generation=generation, conditions=conditions.list()))
    conditions.set(ConditionType.SUCCEEDED, "False", Reason.INVALID_SPEC, message)
    conditions.set(ConditionType.FINISHED, "True", Reason.INVALID_SPEC, message)
    return Plan(
        DbtRunStatus(
            observed_generation=generation,
            phase=Phase.FAILED,
            reason=Reason.INVALID_SPEC,
            message=message,
            conditions=conditions.list(),
        ),
        events=(Event("Warning", Reason.INVALID_SPEC, message),),
    )


class _Minimal(Model):
    observed_generation: int
    conditions: list[Any]


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
