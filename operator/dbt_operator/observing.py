"""Reads all that is known of a run when a decision is due: what watches have told, and live what they have missed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from dbt_operator import live
from dbt_operator.api.backfill import DbtBackfill, DbtBackfillStatus
from dbt_operator.api.project import DbtProject
from dbt_operator.api.run import Attempt, DbtRun, DbtRunStatus, RunTemplateSpec
from dbt_operator.api.state import StateOf
from dbt_operator.api.status import Phase
from dbt_operator.api.target import DbtTarget
from dbt_operator.cluster import Cluster
from dbt_operator.planning.admission import Identity
from dbt_operator.planning.children import Orders
from dbt_operator.planning.duration import parse_time
from dbt_operator.planning.names import ATTEMPT_LABEL, job_name
from dbt_operator.planning.observed import GONE, PodFacts, controller_uid, job_facts, parent_of, pod_facts
from dbt_operator.planning.progress import can_be_seen, longest
from dbt_operator.planning.queue import look, look_of_part
from dbt_operator.planning.run_status import Observed, Stray
from dbt_operator.progress import ProgressReader
from dbt_operator.projection import PROJECTED
from dbt_operator.store import Store
from dbt_runner.protocol import Progress

Manifest = Mapping[str, Any]

_NO_WARNINGS_YET = 3.0  # seconds; a pod usually starts sooner, and then nobody needs to ask about it


def identity_of(manifest: Manifest) -> Identity:
    """What metadata says of an object."""
    metadata = manifest["metadata"]
    return Identity(
        metadata["namespace"],
        metadata["name"],
        metadata["uid"],
        metadata["generation"],
        metadata.get("labels") or {},
        metadata.get("annotations") or {},
    )


class Reader:
    """What both runs and backfills are observed with."""

    def __init__(self, cluster: Cluster, store: Store, clock: Callable[[], datetime], runner_image: str) -> None:
        self.cluster = cluster
        self.store = store
        self.clock = clock
        self.runner_image = runner_image

    def whole(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """An object, asked for live where little of it is kept, or nothing is known of it."""
        manifest = self.store.get(kind, namespace, name)
        if manifest is None or manifest.get(PROJECTED):
            return live.get(self.cluster, self.store, kind, namespace, name)
        return manifest

    def reference(self, kind: str, namespace: str, name: str, model: type[Any]) -> tuple[Any, int] | None:
        """What an object refers to, with its generation; None where there is none."""
        manifest = self.whole(kind, namespace, name)
        return None if manifest is None else (model.model_validate(manifest), manifest["metadata"]["generation"])

    def state_run(self, spec: RunTemplateSpec, namespace: str) -> DbtRun | None:
        """The run that state.from.run names."""
        source = spec.state.from_ if spec.state else None
        if not isinstance(source, StateOf) or not source.run:
            return None
        found = self.reference("DbtRun", namespace, source.run, DbtRun)
        return found[0] if found else None


class Runs:
    """Observes runs. Safe to use from several threads, as no run is reconciled by two of them at a time."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._cluster, self._store, self._clock = reader.cluster, reader.store, reader.clock
        self._progress = ProgressReader(reader.cluster)

    def forget(self, namespace: str, name: str) -> None:
        """A run that is not at work needs no memory."""
        self._progress.forget(namespace, name)

    def observe(self, manifest: Manifest, *, acted: bool = False, asked: bool = False) -> Observed:
        """Everything about a run.

        Args:
            manifest: the run.
            acted: an action has just been taken for it, so what there is of it is looked up again.
            asked: it has just asked for a slot.
        """
        seen = self._observe(manifest, acted=acted)
        target = self._store.get("DbtTarget", seen.identity.namespace, seen.run.spec.target_ref.name)
        if target is None or (seen.status.phase and seen.status.phase.finished):
            return seen
        if seen.orders is not None:
            return replace(seen, slot=look_of_part(seen.orders.parent_uid, target))
        begun = seen.status.phase in (Phase.PENDING, Phase.RUNNING) and seen.status.attempts
        others = () if begun else self._store.unfinished(seen.identity.namespace, target["metadata"]["name"])
        return replace(seen, slot=look(manifest, target, others, self._clock(), asked=asked))

    def _observe(self, manifest: Manifest, *, acted: bool) -> Observed:
        run, identity = DbtRun.model_validate(manifest), identity_of(manifest)
        status = run.status or DbtRunStatus()
        namespace = identity.namespace
        seen = Observed(
            run=run,
            identity=identity,
            created_at=parse_time(manifest["metadata"]["creationTimestamp"]),
            runner_image=self._reader.runner_image,
        )
        if status.phase and status.phase.finished:
            self._progress.forget(namespace, identity.name)
            orders = self._orders(manifest) if run.spec.ttl_after_finished else None
            return replace(seen, strays=self.strays(manifest), orders=orders)
        seen = replace(seen, orders=self._orders(manifest))
        if seen.orders is not None and not status.attempts:
            return seen
        if not status.attempts:
            project = self._reader.reference("DbtProject", namespace, run.spec.project_ref.name, DbtProject)
            target = self._reader.reference("DbtTarget", namespace, run.spec.target_ref.name, DbtTarget)
            return replace(seen, project=project, target=target, state_run=self._reader.state_run(run.spec, namespace))
        if status.resolved and status.resolved.promote:
            project = self._reader.reference("DbtProject", namespace, run.spec.project_ref.name, DbtProject)
            seen = replace(seen, project=project)
        attempt = status.attempts[-1]
        if attempt.job_uid is None and not acted and _is_new(seen) and not self._store.of_run("Job", identity.uid):
            return seen  # creating its Job tells whether there is one
        return self._observe_attempt(seen, attempt)

    def _orders(self, manifest: Manifest) -> Orders | None:
        """What the backfill that a run says it is part of says of it; None for a run that says no such thing."""
        if (parent := parent_of(manifest)) is None:
            return None
        name, uid = parent
        found = self._reader.whole("DbtBackfill", manifest["metadata"]["namespace"], name)
        if found is None or found["metadata"]["uid"] != uid:
            return Orders(name, uid, gone=True)
        status = DbtBackfill.model_validate(found).status or DbtBackfillStatus()
        mine = next((run for run in status.runs or () if run.uid == manifest["metadata"]["uid"]), None)
        if mine is None:
            return Orders(name, uid)
        return Orders(name, uid, status.resolved, status.commit or "", status.image_id or "", mine.stop or "")

    def strays(self, manifest: Manifest) -> tuple[Stray, ...]:
        """Jobs of a run that has ended which nobody recorded, and which have not ended."""
        metadata = manifest["metadata"]
        recorded = {attempt.get("jobUID") for attempt in manifest["status"].get("attempts") or ()}
        jobs = [job for job in self._store.of_run("Job", metadata["uid"]) if job["metadata"]["uid"] not in recorded]
        facts = {job["metadata"]["name"]: job_facts(job) for job in jobs if _belongs(job, metadata["uid"])}
        return tuple(Stray(name, job.uid) for name, job in facts.items() if not job.ended and not job.deleting)

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
        return replace(
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
        identity = seen.identity
        return self._progress.look(identity.namespace, identity.name, pod, self._clock(), longest(seen.run))

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
