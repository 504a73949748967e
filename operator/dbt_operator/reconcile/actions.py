"""Takes the actions that planners decide on. All of them are safe to repeat."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from dbt_operator.api.kinds.project import DbtProject
from dbt_operator.cluster import live
from dbt_operator.cluster.client import Cluster
from dbt_operator.cluster.errors import ConflictError, InvalidError, NotFoundError
from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.planning.common.manifests import parent_of
from dbt_operator.planning.common.plan import (
    Action,
    CreateJob,
    CreateRun,
    DeleteJob,
    DeletePod,
    DeleteRun,
    MarkJob,
    OpenGate,
    PromoteState,
    SettleSlots,
    StopPod,
)
from dbt_operator.planning.common.reading import UnreadableError, read
from dbt_operator.planning.state.compare import states
from dbt_operator.planning.state.promote import advanced
from dbt_operator.reconcile.slots import Settled, Slots

log = structlog.get_logger()

Manifest = Mapping[str, Any]


class Actions:
    """One for all objects. Safe to use from several threads."""

    def __init__(
        self, cluster: Cluster, store: Store, slots: Slots, wake: Callable[[Key], None]
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._slots = slots
        self._wake = wake
        # Many runs of a project may end at once: within this process none need lose a
        # compare-and-swap.
        self._promoting: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)

    def take(self, manifest: Manifest, action: Action) -> str:
        """Take an action for an object; what the API server has against it, where it refuses it for
        good.
        """
        namespace = manifest["metadata"]["namespace"]
        try:
            self._carry_out(namespace, manifest, action)
        except InvalidError as error:
            if isinstance(action, (CreateJob, CreateRun, PromoteState)):
                return str(error)
            raise
        except UnreadableError as error:
            if isinstance(action, PromoteState):
                return str(error)
            if not isinstance(action, SettleSlots):
                raise
            # A target that cannot be read gives no slot. It says why itself, and so does who waits
            # for it.
            log.warning("no slot can be given", namespace=namespace, error=str(error))
            self._wake(Key(error.kind, error.namespace, error.name))
        return ""

    def _carry_out(self, namespace: str, manifest: Manifest, action: Action) -> None:
        match action:
            case CreateJob() | DeleteJob() | MarkJob():
                self._change_job(namespace, action)
            case CreateRun():
                kind = action.manifest["kind"]
                self._store.put(kind, self._cluster.create_run(action.manifest))
            case DeletePod():
                self._cluster.delete_pod(namespace, action.name, action.uid)
            case DeleteRun():
                self._cluster.delete_run(action.kind, namespace, action.name, action.uid)
            case StopPod():
                self._patch_pod(
                    namespace,
                    action.name,
                    lambda: self._cluster.stop_pod(namespace, action.name, action.uid),
                )
            case OpenGate():
                self._open_gate(namespace, manifest, action)
            case SettleSlots():
                self.settle(namespace, action.target, manifest)
            case PromoteState():
                self._promote(namespace, action)

    def _change_job(self, namespace: str, action: CreateJob | DeleteJob | MarkJob) -> None:
        match action:
            case CreateJob():
                self._store.put("Job", self._cluster.create_job(action.manifest))
            case DeleteJob():
                self._cluster.delete_job(namespace, action.name, action.uid)
            case MarkJob():
                self._mark_job(namespace, action)

    def settle(self, namespace: str, target: str, asking: Manifest | None = None) -> Settled | None:
        """Settle the slots of a target, and wake those who have got one."""
        settled = self._slots.settle(namespace, target, asking)
        for claim in settled.granted if settled else ():
            if asking is None or claim.uid != asking["metadata"]["uid"]:
                self._wake(Key(claim.kind, namespace, claim.name))
        return settled

    def _patch_pod(self, namespace: str, name: str, patch: Callable[[], Manifest]) -> None:
        try:
            self._store.put("Pod", patch())
        except NotFoundError:
            log.info("pod is gone", namespace=namespace, pod=name)

    def _mark_job(self, namespace: str, action: MarkJob) -> None:
        """Mark a Job as ended. Where that is refused it is not tried again before the next list."""
        try:
            self._store.put("Job", self._cluster.mark_job_ended(namespace, action.name, action.uid))
        except (NotFoundError, ConflictError, InvalidError) as error:
            log.info("not marked", namespace=namespace, job=action.name, error=str(error))
            job = self._store.get("Job", namespace, action.name)
            if job is not None:
                self._store.drop("Job", job)

    def _open_gate(self, namespace: str, manifest: Manifest, action: OpenGate) -> None:
        """Open a pod's gate. That its run, or the backfill that this is part of, holds the slot is
        asked now, when the Job is there for all to see.
        """
        parent = parent_of(manifest)
        holder = parent[1] if parent else manifest["metadata"]["uid"]
        if self._slots.holds(namespace, action.target, holder):
            self._patch_pod(
                namespace,
                action.pod,
                lambda: self._cluster.open_gate(namespace, action.pod, action.uid),
            )

    def _promote(self, namespace: str, action: PromoteState) -> None:
        """Move the pointer of a project, from what it points at now."""
        with self._promoting[namespace, action.project]:
            # What is known may be old. Then the write is refused, and the next look is at what
            # there is.
            where = ("DbtProject", namespace, action.project)
            manifest = self._store.get(*where) or live.get(self._cluster, self._store, *where)
            if manifest is None:
                return
            moved = advanced(states(read(DbtProject, manifest)), action.entry, action.base)
            if moved is None:
                return
            patch = {"states": [entry.to_dict() for entry in moved]}
            try:
                self._store.put(
                    "DbtProject", self._cluster.patch_status("DbtProject", manifest, patch)
                )
            except (ConflictError, NotFoundError):
                if live.get(self._cluster, self._store, *where) is not None:
                    raise
