"""Reads all that is known of a run when a decision is due: what watches have told, and live what
they have missed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from dbt_operator.api.kinds.backfill import DbtBackfill, DbtBackfillStatus
from dbt_operator.api.kinds.project import DbtProject
from dbt_operator.api.kinds.run import Attempt, DbtRun, DbtRunStatus
from dbt_operator.api.kinds.target import DbtTarget
from dbt_operator.api.status import Phase
from dbt_operator.observing.awaited import look_at_upstreams
from dbt_operator.observing.progress import ProgressReader
from dbt_operator.observing.reader import Manifest, Reader, identity_of
from dbt_operator.observing.recorded import find_record
from dbt_operator.observing.reported import DigestReader
from dbt_operator.planning.attempt.pod_facts import (
    GONE,
    AttemptFacts,
    JobFacts,
    PodFacts,
    foreign,
    job_facts,
    pod_facts,
)
from dbt_operator.planning.common.durations import parse_time
from dbt_operator.planning.common.manifests import controller_uid, parent_of
from dbt_operator.planning.common.names import ATTEMPT_LABEL, job_name
from dbt_operator.planning.common.reading import UnreadableError, read, read_part
from dbt_operator.planning.common.references import References
from dbt_operator.planning.common.strays import Stray
from dbt_operator.planning.notifying.deciding import Listeners
from dbt_operator.planning.queueing.positions import Slot, look, look_of_part
from dbt_operator.planning.queueing.ranking import Ranking
from dbt_operator.planning.run.facts import RunFacts
from dbt_operator.planning.run.orders import Orders
from dbt_operator.planning.run.progress import can_be_seen, longest
from dbt_operator.planning.run.successes import UpstreamFacts
from dbt_protocol.summaries import Progress

log = structlog.get_logger()

_NO_WARNINGS_YET = (
    3.0  # seconds; a pod usually starts sooner, and then nobody needs to ask about it
)


@dataclass(frozen=True)
class Left:
    """What lives of a run that can go no further."""

    jobs: tuple[Stray, ...]  # that have not ended
    at_work: bool  # a pod that is not behind the slot's gate


class Runs:
    """Observes runs. Safe to use from several threads, as no run is reconciled by two of them at a
    time.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._cluster, self._store, self._clock = reader.cluster, reader.store, reader.clock
        self._progress = ProgressReader(reader.cluster)
        self._digests = DigestReader(reader.cluster)

    def forget(self, namespace: str, name: str) -> None:
        """A run that is not at work needs no memory."""
        self._progress.forget(namespace, name)
        self._digests.forget(namespace, name)

    def observe(self, manifest: Manifest, *, acted: bool = False, asked: bool = False) -> RunFacts:
        """Everything about a run.

        Args:
            manifest: the run.
            acted: an action has just been taken for it, so what there is of it is looked up again.
            asked: it has just asked for a slot.
        """
        facts = self._observe(manifest, acted=acted)
        target = self._store.get(
            "DbtTarget", facts.identity.namespace, facts.run.spec.target_ref.name
        )
        if target is None or (facts.status.phase and facts.status.phase.finished):
            return facts
        if facts.orders is not None:
            return replace(facts, slot=look_of_part(facts.orders.parent_uid, target))
        begun = facts.status.phase in (Phase.PENDING, Phase.RUNNING) and facts.status.attempts
        now = self._clock()
        ranking = (
            Ranking()
            if begun or facts.status.phase is Phase.WAITING
            else self._store.rank(facts.identity.namespace, target["metadata"]["name"], now)
        )
        return replace(facts, slot=look_at_slot(manifest, target, ranking, now, asked=asked))

    def _observe(self, manifest: Manifest, *, acted: bool) -> RunFacts:
        run, identity = read(DbtRun, manifest), identity_of(manifest)
        status = run.status or DbtRunStatus()
        namespace = identity.namespace
        facts = RunFacts(
            run=run,
            identity=identity,
            created_at=parse_time(manifest["metadata"]["creationTimestamp"]),
            runner_image=self._reader.runner_image,
            listeners=self._reader.find_listeners(
                run.spec.notify, run.spec.project_ref.name, namespace
            ),
        )
        if status.phase and status.phase.finished:
            self.forget(namespace, identity.name)
            orders = self._orders(manifest) if run.spec.ttl_after_finished else None
            return replace(
                facts,
                strays=self.strays(manifest),
                outliving=self.outliving(manifest),
                unmarked=self.unmarked(manifest),
                orders=orders,
            )
        record = find_record(self._reader, manifest)
        facts = replace(facts, orders=self._orders(manifest), record=record)
        if facts.orders is not None and not status.attempts:
            return facts
        if not status.attempts:
            references = self._reader.read_references(run.spec, namespace)
            return replace(facts, references=references, upstreams=self._look_upstream(facts))
        project = self._project(namespace, run.spec.project_ref.name)
        facts = replace(facts, references=References(project))
        attempt = status.attempts[-1]
        if (
            attempt.job_uid is None
            and not acted
            and _is_new(facts)
            and not self._store.of_run("Job", identity.uid)
        ):
            return facts  # creating its Job tells whether there is one
        return replace(facts, attempt=self._observe_attempt(facts, attempt))

    def _look_upstream(self, facts: RunFacts) -> tuple[UpstreamFacts, ...]:
        """How that stands which a run waits for; nothing where it need not know."""
        status, record = facts.status, facts.record
        if not facts.run.spec.wait_for or (status.wait and status.wait.ended_at):
            return ()
        if status.cancel_requested_at or (record is not None and not record.stands):
            return ()
        namespace = facts.identity.namespace
        return look_at_upstreams(self._reader, namespace, facts.run.spec, status.wait)

    def _project(self, namespace: str, name: str) -> tuple[DbtProject, int] | None:
        """The project of a run, which says whose state is the current one. One that cannot be read
        has no place for another, as one that is gone has not: the run ends as it has ended.
        """
        try:
            return self._reader.reference("DbtProject", namespace, name, DbtProject)
        except UnreadableError as error:
            log.warning("no state can be promoted", namespace=namespace, error=str(error))
            return None

    def _orders(self, manifest: Manifest) -> Orders | None:
        """What the backfill that a run says it is part of says of it; None for a run that says no
        such thing.
        """
        if (parent := parent_of(manifest)) is None:
            return None
        name, uid = parent
        found = self._reader.whole("DbtBackfill", manifest["metadata"]["namespace"], name)
        if found is None or found["metadata"]["uid"] != uid:
            return Orders(name, uid, gone=True)
        try:
            status: DbtBackfillStatus = (
                read_part(DbtBackfill, found, "status") or DbtBackfillStatus()
            )
        except UnreadableError as error:
            return Orders(name, uid, unreadable=error.why)
        mine = next(
            (run for run in status.runs or () if run.uid == manifest["metadata"]["uid"]), None
        )
        if mine is None:
            return Orders(name, uid)
        return Orders(
            name, uid, status.resolved, status.commit or "", status.image_id or "", mine.stop or ""
        )

    def strays(self, manifest: Manifest) -> tuple[Stray, ...]:
        """Jobs of a run that has ended which nobody recorded, and which have not ended."""
        metadata = manifest["metadata"]
        recorded = {attempt.get("jobUID") for attempt in manifest["status"].get("attempts") or ()}
        jobs = [
            job
            for job in self._store.of_run("Job", metadata["uid"])
            if job["metadata"]["uid"] not in recorded
        ]
        found = {
            job["metadata"]["name"]: job_facts(job)
            for job in jobs
            if _belongs(job, metadata["uid"])
        }
        return tuple(
            Stray(name, job.uid)
            for name, job in found.items()
            if not job.ended and not job.deleting
        )

    def outliving(self, manifest: Manifest) -> tuple[PodFacts, ...]:
        """Pods of a run that has ended in which somebody else's container goes on."""
        recorded = {attempt.get("jobUID") for attempt in manifest["status"].get("attempts") or ()}
        # One without a controller was left behind by `kubectl delete --cascade=orphan`.
        pods = [
            pod_facts(pod)
            for pod in self._store.of_run("Pod", manifest["metadata"]["uid"])
            if controller_uid(pod) in {"", *recorded}
        ]
        return tuple(pod for pod in pods if pod.outlives_work)

    def unmarked(self, manifest: Manifest) -> tuple[JobFacts, ...]:
        """Jobs of a run that has ended which have failed and are not marked as ended."""
        uid = manifest["metadata"]["uid"]
        jobs = [job_facts(job) for job in self._store.of_run("Job", uid)]
        return tuple(job for job in jobs if job.owner_uid == uid and job.is_to_be_marked)

    def left_of(self, manifest: Manifest) -> Left:
        """What lives of a run whose spec tells nothing any more, asked for live."""
        metadata = manifest["metadata"]
        namespace, uid = metadata["namespace"], metadata["uid"]
        names = [attempt["jobName"] for attempt in manifest["status"].get("attempts") or ()]
        found = [self._cluster.get_job(namespace, name) for name in names[-1:]]
        jobs = [
            job
            for job in found
            if job is not None and _belongs(job, uid) and not job_facts(job).ended
        ]
        pods = [
            pod_facts(pod)
            for pod in self._cluster.pods_of_run(namespace, uid)
            if not foreign("Pod", pod)
        ]
        at_work = any(not pod.work_ended and not pod.gated for pod in pods)
        return Left(
            tuple(Stray(job["metadata"]["name"], job["metadata"]["uid"]) for job in jobs), at_work
        )

    def listeners_of(self, manifest: Manifest) -> Listeners:
        """Who is to be told of the end of something whose spec cannot be read as a whole."""
        spec = manifest["spec"]
        run = ((spec.get("runTemplate") or {}).get("spec") or {}) or spec
        chosen = [each["notify"] for each in (spec, run) if each.get("notify") is not None]
        project = str((run.get("projectRef") or {}).get("name", ""))
        namespace = manifest["metadata"]["namespace"]
        return self._reader.find_readable_listeners(chosen, project, namespace)

    def _observe_attempt(self, facts: RunFacts, attempt: Attempt) -> AttemptFacts:
        """Job and pod of an attempt. Absence is confirmed live: the store may not have heard yet,
        or have missed it.
        """
        identity, number = facts.identity, attempt.number
        name = job_name(identity.name, identity.uid, number)
        job = next(
            (j for j in self._store.of_run("Job", identity.uid) if j["metadata"]["name"] == name),
            None,
        )
        pods = self._store.of_run("Pod", identity.uid)
        if job is None:
            job = self._cluster.get_job(identity.namespace, name)
            if job is not None and _belongs(job, identity.uid):
                self._store.put("Job", job)
        owner = attempt.job_uid or (job["metadata"]["uid"] if job else "")
        pods = _of_attempt(pods, attempt, owner)
        if not pods and (job is None or job_facts(job).ended or self._age(job) >= _NO_WARNINGS_YET):
            pods = _of_attempt(
                self._cluster.pods_of_run(identity.namespace, identity.uid), attempt, owner
            )
        pod = max(
            pods,
            key=lambda p: (GONE not in p, str(p["metadata"]["creationTimestamp"])),
            default=None,
        )
        about_pod = pod_facts(pod) if pod else None
        return AttemptFacts(
            job=job_facts(job) if job else None,
            pod=about_pod,
            warnings=self._warnings(identity.namespace, job, pod),
            progress=self._how_far(facts, about_pod),
            digest=self._digests.look(facts.identity, about_pod) if about_pod else None,
        )

    def _how_far(self, facts: RunFacts, pod: PodFacts | None) -> Progress | None:
        """How far dbt is. Where there is more urgent news, a start or a wish to cancel, nobody
        waits for a log.
        """
        if pod is None or facts.status.phase is not Phase.RUNNING or facts.run.spec.cancel:
            return None
        if not can_be_seen(facts.status, pod):
            return None
        identity = facts.identity
        return self._progress.look(
            identity.namespace, identity.name, pod, self._clock(), longest(facts.run)
        )

    def _warnings(
        self, namespace: str, job: Manifest | None, pod: Manifest | None
    ) -> tuple[str, ...]:
        """Why a pod does not start, which only events tell when a volume or the pod itself is what
        is missing.
        """
        about = pod or job
        if about is None or (pod and pod.get("status", {}).get("phase", "Pending") != "Pending"):
            return ()
        if self._age(about) < _NO_WARNINGS_YET:
            return ()
        return self._cluster.list_warnings(namespace, about["metadata"]["uid"])

    def _age(self, manifest: Manifest) -> float:
        """Seconds since an object was created."""
        return (
            self._clock() - parse_time(manifest["metadata"]["creationTimestamp"])
        ).total_seconds()


def look_at_slot(
    manifest: Manifest, target: Manifest, ranking: Ranking, now: datetime, *, asked: bool
) -> Slot:
    """What a run or backfill can see of the slots of its target. One that cannot be read has none
    to give, and takes none back.
    """
    try:
        read(DbtTarget, target)
    except UnreadableError as error:
        held = look_of_part(manifest["metadata"]["uid"], {"status": target.get("status", {})})
        return replace(held, asked=asked, unreadable=error.why)
    return look(manifest, target, ranking, now, asked=asked)


def _of_attempt(pods: list[Manifest], attempt: Attempt, owner: str) -> list[Manifest]:
    """The pods of an attempt: of its Job, if that is known by its UID, else of some Job. A pod that
    no Job controls tells nothing of an attempt, whatever its labels say.
    """
    return [
        pod
        for pod in pods
        if not foreign("Pod", pod)
        and pod["metadata"]["labels"][ATTEMPT_LABEL] == str(attempt.number)
        and controller_uid(pod)
        and owner in ("", controller_uid(pod))
    ]


def _is_new(facts: RunFacts) -> bool:
    """Whether all that can be about to happen to a run is that its Job is created."""
    status = facts.status
    return (
        status.phase is Phase.PENDING
        and not facts.run.spec.cancel
        and status.cancel_requested_at is None
    )


def _belongs(job: Manifest, run_uid: str) -> bool:
    return job_facts(job).owner_uid == run_uid
