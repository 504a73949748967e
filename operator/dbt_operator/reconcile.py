"""Read, plan, act, write status once. Level-triggered: what woke it does not matter, only what there is."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from pydantic import ValidationError

from dbt_operator.api.base import Model
from dbt_operator.api.project import DbtProject
from dbt_operator.api.run import Attempt, DbtRun, DbtRunStatus
from dbt_operator.api.state import StateOf
from dbt_operator.api.status import Condition, ConditionType, Phase, Reason
from dbt_operator.api.target import DbtTarget
from dbt_operator.cluster import Cluster, ClusterError, ConflictError, InvalidError, NotFoundError
from dbt_operator.planning import project as project_planner
from dbt_operator.planning import run as run_planner
from dbt_operator.planning import target as target_planner
from dbt_operator.planning.admission import Identity
from dbt_operator.planning.conditions import Conditions
from dbt_operator.planning.duration import parse_time, seconds
from dbt_operator.planning.names import ATTEMPT_LABEL, job_name
from dbt_operator.planning.observed import GONE, PodFacts, controller_uid, job_facts, pod_facts
from dbt_operator.planning.plan import (
    Action,
    DeleteJob,
    DeletePod,
    DeleteRun,
    Event,
    OpenGate,
    Plan,
    PromoteState,
    SettleSlots,
)
from dbt_operator.planning.progress import can_be_seen
from dbt_operator.planning.queue import LOOKS, look
from dbt_operator.planning.run_status import Observed, Stray
from dbt_operator.planning.state import advanced, states
from dbt_operator.progress import ProgressReader
from dbt_operator.projection import MANAGED, PROJECTED
from dbt_operator.slots import Settled, Slots, concerns_slot, holders_of, queued_behind
from dbt_operator.store import Store
from dbt_runner.protocol import Progress

log = structlog.get_logger()

Manifest = Mapping[str, Any]

_ROUNDS = 4  # of planning after an action, in one reconciliation
_SLOT_LOOKS = 2.0  # seconds; while something of a holder lives that has ended
_NO_WARNINGS_YET = 3.0  # seconds; a pod usually starts sooner, and then nobody needs to ask about it


@dataclass(frozen=True)
class Key:
    """What is reconciled."""

    kind: str
    namespace: str
    name: str


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
        self._runner_image = runner_image
        self._clock = clock
        self._wake = wake
        self._progress = ProgressReader(cluster)
        self._slots = Slots(cluster, store, clock)
        # Many runs of a project may end at once: within this process none need lose a compare-and-swap.
        self._promoting: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)

    def reconcile(self, key: Key) -> float | None:
        """Reconcile an object; the seconds after which it wants to be looked at again, or None.

        Raises:
            ClusterError: the API server refused or did not answer; try again.
        """
        manifest = self._store.get(key.kind, key.namespace, key.name)
        if manifest is None or manifest["metadata"].get("deletionTimestamp"):
            self._progress.forget(key.namespace, key.name)
            return None  # the Jobs belong to it and go with it
        try:
            if key.kind == "DbtTarget":
                return self._reconcile_target(key, manifest)
            if manifest.get(PROJECTED):
                return self._reconcile_ended(key, manifest)
            return self._write(key, manifest, self._carry_out(key, manifest))
        except ConflictError:
            # Something newer exists: look at it instead of at what the watch has not delivered yet.
            self._refresh(key, manifest)
            return 0.0

    def _reconcile_target(self, key: Key, manifest: Manifest) -> float | None:
        """Its slots first, then what is said of it."""
        now = self._clock()
        runs = self._store.unfinished(key.namespace, key.name)
        waiting_for: list[str] = []
        if self._slots.due(manifest, runs):
            settled = self._settle(key.namespace, key.name)
            if settled is None:
                return None
            manifest, waiting_for = settled.target, settled.waiting_for
        queued = self._slots.queued(manifest, runs)
        for run in queued_behind(manifest, runs):
            self._wake(Key("DbtRun", key.namespace, run))
        planned = self._plan(key, manifest, queued=self._slots.told(manifest, queued, now))
        self._write(key, manifest, planned)
        if waiting_for:
            return _SLOT_LOOKS
        return LOOKS.total_seconds() if queued else None

    def _reconcile_ended(self, key: Key, projected: Manifest) -> float | None:
        """A run that has ended, of which little is kept: the whole of it is asked for when there is something to do."""
        self._progress.forget(key.namespace, key.name)
        name = projected["spec"]["targetRef"]["name"]
        target = self._store.get("DbtTarget", key.namespace, name)
        if target is not None and any(h["uid"] == projected["metadata"]["uid"] for h in holders_of(target)):
            self._wake(Key("DbtTarget", key.namespace, name))  # the answer to the write of its end may have been lost
        left = self._left(projected)
        if not self._strays(projected) and (left is None or left > 0):
            return left
        try:
            manifest = self._cluster.get(key.kind, key.namespace, key.name)
        except NotFoundError:
            self._store.forget(key.kind, key.namespace, key.name)
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

    def _settle(self, namespace: str, target: str, asking: Manifest | None = None) -> Settled | None:
        settled = self._slots.settle(namespace, target, asking)
        for claim in settled.granted if settled else ():
            if asking is None or claim.uid != asking["metadata"]["uid"]:
                self._wake(Key("DbtRun", namespace, claim.name))
        return settled

    def _carry_out(self, key: Key, manifest: Manifest) -> Plan:
        """Plan and act until nothing is left to do but to write the status, or to wait."""
        planned = self._plan(key, manifest)
        asked = False
        for _ in range(_ROUNDS):
            if not planned.actions:
                return planned
            refusals = [refusal for action in planned.actions if (refusal := self._act(manifest, action))]
            if planned.requeue_after is not None:
                return planned
            asked |= any(isinstance(action, SettleSlots) for action in planned.actions)
            planned = self._plan(key, manifest, refusal="; ".join(refusals), asked=asked, acted=True)
        return planned

    # Reading

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
        try:
            if key.kind == "DbtTarget":
                target = DbtTarget.model_validate(manifest)
                return target_planner.plan(target, _identity(manifest), self._clock(), queued)
            if key.kind == "DbtProject":
                return project_planner.plan(DbtProject.model_validate(manifest), _identity(manifest), self._clock())
            seen = _replace(self._observe(manifest, acted=acted), refusal=refusal)
            return run_planner.plan(self._with_slot(seen, manifest, asked=asked), self._clock())
        except ValidationError as error:
            return _invalid(key, manifest, error, self._clock())

    def _observe(self, manifest: Manifest, *, acted: bool) -> Observed:
        run, identity = DbtRun.model_validate(manifest), _identity(manifest)
        status = run.status or DbtRunStatus()
        namespace = identity.namespace
        seen = Observed(
            run=run,
            identity=identity,
            created_at=parse_time(manifest["metadata"]["creationTimestamp"]),
            runner_image=self._runner_image,
        )
        if status.phase and status.phase.finished:
            self._progress.forget(namespace, identity.name)
            return _replace(seen, strays=self._strays(manifest))
        if not status.attempts:
            project = self._reference("DbtProject", namespace, run.spec.project_ref.name, DbtProject)
            target = self._reference("DbtTarget", namespace, run.spec.target_ref.name, DbtTarget)
            return _replace(seen, project=project, target=target, state_run=self._state_run(run, namespace))
        if status.resolved and status.resolved.promote:
            project = self._reference("DbtProject", namespace, run.spec.project_ref.name, DbtProject)
            seen = _replace(seen, project=project)
        attempt = status.attempts[-1]
        if attempt.job_uid is None and not acted and _is_new(seen) and not self._store.of_run("Job", identity.uid):
            return seen  # creating its Job tells whether there is one
        return self._observe_attempt(seen, attempt)

    def _with_slot(self, seen: Observed, manifest: Manifest, *, asked: bool) -> Observed:
        """With what is known of the slots of its target."""
        namespace, name = seen.identity.namespace, seen.run.spec.target_ref.name
        target = self._store.get("DbtTarget", namespace, name)
        if target is None or (seen.status.phase and seen.status.phase.finished):
            return seen
        begun = seen.status.phase in (Phase.PENDING, Phase.RUNNING) and seen.status.attempts
        others = () if begun else self._store.unfinished(namespace, name)
        return _replace(seen, slot=look(manifest, target, others, self._clock(), asked=asked))

    def _strays(self, manifest: Manifest) -> tuple[Stray, ...]:
        """Jobs of a run that has ended which nobody recorded, and which have not ended."""
        metadata = manifest["metadata"]
        recorded = {attempt.get("jobUID") for attempt in manifest["status"].get("attempts") or ()}
        jobs = [job for job in self._store.of_run("Job", metadata["uid"]) if job["metadata"]["uid"] not in recorded]
        facts = {job["metadata"]["name"]: job_facts(job) for job in jobs if _belongs(job, metadata["uid"])}
        return tuple(Stray(name, job.uid) for name, job in facts.items() if not job.ended and not job.deleting)

    def _state_run(self, run: DbtRun, namespace: str) -> DbtRun | None:
        """The run that state.from.run names."""
        source = run.spec.state.from_ if run.spec.state else None
        if not isinstance(source, StateOf) or not source.run:
            return None
        found = self._reference("DbtRun", namespace, source.run, DbtRun)
        return found[0] if found else None

    def _reference(self, kind: str, namespace: str, name: str, model: type[Any]) -> tuple[Any, int] | None:
        manifest = self._store.get(kind, namespace, name)
        if manifest is None or manifest.get(PROJECTED):
            try:
                manifest = self._cluster.get(kind, namespace, name)
            except NotFoundError:
                return None
            self._store.put(kind, manifest)
        return model.model_validate(manifest), manifest["metadata"]["generation"]

    def _observe_attempt(self, seen: Observed, attempt: Attempt) -> Observed:
        """Job and pod of an attempt. Absence is confirmed live: the store may not have heard yet, or have missed it."""
        identity, number = seen.identity, attempt.number
        name = job_name(identity.name, identity.uid, number)
        job = next((j for j in self._store.of_run("Job", identity.uid) if j["metadata"]["name"] == name), None)
        pods = _of_attempt(self._store.of_run("Pod", identity.uid), attempt)
        if job is None:
            job = self._cluster.get_job(identity.namespace, name)
            if job is not None and _belongs(job, identity.uid):
                self._store.put("Job", job)
        if not pods and (job is None or job_facts(job).ended or self._age(job) >= _NO_WARNINGS_YET):
            pods = _of_attempt(self._cluster.pods_of_run(identity.namespace, identity.uid), attempt)
        pod = max(pods, key=lambda p: (GONE not in p, str(p["metadata"]["creationTimestamp"])), default=None)
        facts = pod_facts(pod) if pod else None
        return _replace(
            seen,
            job=job_facts(job) if job else None,
            pod=facts,
            warnings=self._warnings(identity.namespace, job, pod),
            progress=self._how_far(seen, facts),
        )

    def _how_far(self, seen: Observed, pod: PodFacts | None) -> Progress | None:
        """How far dbt is. Where there is more urgent news, a start or a wish to cancel, nobody waits for a log."""
        if pod is None or seen.status.phase is not Phase.RUNNING or seen.run.spec.cancel:
            return None
        if not can_be_seen(seen.status, pod):
            return None
        return self._progress.look(seen.identity.namespace, seen.identity.name, pod, self._clock())

    def _warnings(self, namespace: str, job: Manifest | None, pod: Manifest | None) -> tuple[str, ...]:
        """Why a pod does not start, which only events tell when a volume or the pod itself is what is missing."""
        about = pod or job
        if about is None or (pod and pod.get("status", {}).get("phase", "Pending") != "Pending"):
            return ()
        if self._age(about) < _NO_WARNINGS_YET:
            return ()
        return self._cluster.warnings(namespace, about["metadata"]["uid"])

    def _age(self, manifest: Manifest) -> float:
        """Seconds since an object was created."""
        return (self._clock() - parse_time(manifest["metadata"]["creationTimestamp"])).total_seconds()

    # Writing

    def _act(self, manifest: Manifest, action: Action) -> str:
        """Take an action; what the API server has against it, where it refuses it for good."""
        namespace = manifest["metadata"]["namespace"]
        if isinstance(action, DeleteJob):
            self._cluster.delete_job(namespace, action.name, action.uid)
            return ""
        if isinstance(action, DeletePod):
            self._cluster.delete_pod(namespace, action.name, action.uid)
            return ""
        if isinstance(action, SettleSlots):
            self._settle(namespace, action.target, manifest)
            return ""
        if isinstance(action, OpenGate):
            self._open(namespace, manifest["metadata"]["uid"], action)
            return ""
        if isinstance(action, PromoteState):
            self._promote(namespace, action)
            return ""
        if isinstance(action, DeleteRun):
            self._cluster.delete_run(namespace, action.name, action.uid)
            return ""
        try:
            self._store.put("Job", self._cluster.create_job(action.manifest))
        except InvalidError as error:
            return str(error)
        return ""

    def _open(self, namespace: str, uid: str, action: OpenGate) -> None:
        """Open a pod's gate. That its run holds the slot is asked now, when the Job is there for all to see."""
        if not self._slots.holds(namespace, action.target, uid):
            return
        try:
            self._store.put("Pod", self._cluster.open_gate(namespace, action.pod, action.uid))
        except NotFoundError:
            log.info("pod is gone", namespace=namespace, pod=action.pod)

    def _promote(self, namespace: str, action: PromoteState) -> None:
        """Move the pointer of a project, from what it points at now."""
        with self._promoting[namespace, action.project]:
            try:
                manifest = self._cluster.get("DbtProject", namespace, action.project)
            except NotFoundError:
                self._store.forget("DbtProject", namespace, action.project)
                return
            moved = advanced(states(DbtProject.model_validate(manifest)), action.entry, action.base)
            if moved is not None:
                patch = {"states": [entry.to_dict() for entry in moved]}
                manifest = self._cluster.patch_status("DbtProject", manifest, patch)
            self._store.put("DbtProject", manifest)

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
        if key.kind == "DbtRun":
            if concerns_slot(patch, written):
                self._wake(Key("DbtTarget", key.namespace, written["spec"]["targetRef"]["name"]))
            if "attempts" in patch and written["status"]["phase"] == Phase.PENDING:
                return 0.0  # the watch would say so too, only later
        return planned.requeue_after

    def _post(self, key: Key, manifest: Manifest, event: Event) -> None:
        """Events are for people; a lost one loses nothing."""
        log.info(event.reason, kind=key.kind, namespace=key.namespace, name=key.name, message=event.message)
        try:
            self._cluster.post_event(key.kind, manifest, event)
        except ClusterError as error:
            log.warning("event lost", name=key.name, error=str(error))

    def _refresh(self, key: Key, manifest: Manifest) -> None:
        try:
            self._store.put(key.kind, self._cluster.get(key.kind, key.namespace, key.name))
        except NotFoundError:
            self._store.drop(key.kind, manifest)


def _identity(manifest: Manifest) -> Identity:
    metadata = manifest["metadata"]
    return Identity(
        metadata["namespace"],
        metadata["name"],
        metadata["uid"],
        metadata["generation"],
        metadata.get("labels") or {},
        metadata.get("annotations") or {},
    )


def _replace(seen: Observed, **changed: Any) -> Observed:
    return Observed(**{**seen.__dict__, **changed})


def _of_attempt(pods: list[Manifest], attempt: Attempt) -> list[Manifest]:
    """The pods of an attempt: of its Job, once that stands in status."""
    return [
        pod
        for pod in pods
        if pod["metadata"]["labels"].get(ATTEMPT_LABEL) == str(attempt.number)
        and attempt.job_uid in (None, controller_uid(pod))
    ]


def _is_new(seen: Observed) -> bool:
    """Whether all that can be about to happen to a run is that its Job is created."""
    status = seen.status
    return status.phase is Phase.PENDING and not seen.run.spec.cancel and status.cancel_requested_at is None


def _belongs(job: Manifest, run_uid: str) -> bool:
    return job_facts(job).owner_uid == run_uid


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
