"""The planner of a DbtRun.

Not admitted -> Pending (admitted, its Job being started) -> Running -> Succeeded, Failed or Cancelled. A step is taken
on what was observed, never on an effect having been issued: an attempt is written into status before its Job is
created, and the Job's UID after, so an operator that is killed in between finds what it must do, and a Job that
vanishes is never made twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from dbt_operator.api.project import DbtProject
from dbt_operator.api.run import (
    ArtifactsStatus,
    Attempt,
    DbtRun,
    DbtRunStatus,
    NodeCounts,
    NodeFailure,
    Resolved,
)
from dbt_operator.api.status import ConditionType, Phase, Reason
from dbt_operator.api.target import DbtTarget
from dbt_operator.planning import job as job_builder
from dbt_operator.planning.admission import START_TIMEOUT, Identity, resolve
from dbt_operator.planning.conditions import Conditions
from dbt_operator.planning.duration import duration, format_time, parse_time, seconds
from dbt_operator.planning.names import job_name
from dbt_operator.planning.observed import JobFacts, PodFacts
from dbt_operator.planning.plan import Action, CreateJob, DeleteJob, DeletePod, Event, Plan
from dbt_operator.planning.verdict import Verdict, judge, stuck, uploaded
from dbt_runner.protocol import Summary

_END = {None: Phase.SUCCEEDED, Reason.CANCELLED: Phase.CANCELLED}  # every other reason: Failed
_LOOK_AGAIN = 5.0  # seconds; while a pod has not started: what holds it up is told by events, which are not watched


@dataclass(frozen=True)
class Observed:
    """All that is known of a run when a decision is due.

    Project and target come with their generations; None where they do not exist. ``job`` and ``pod`` are those of the
    current attempt, and None means confirmed absent. ``warnings`` are the warning events about a pod or Job that
    has not started, the newest first; ``refusal`` is what the API server has just had against creating the Job.
    """

    run: DbtRun
    identity: Identity
    created_at: datetime
    runner_image: str
    project: tuple[DbtProject, int] | None = None
    target: tuple[DbtTarget, int] | None = None
    job: JobFacts | None = None
    pod: PodFacts | None = None
    warnings: tuple[str, ...] = ()
    refusal: str = ""

    @property
    def status(self) -> DbtRunStatus:
        """The status as it stands."""
        return self.run.status or DbtRunStatus()


def plan(seen: Observed, now: datetime) -> Plan:
    """Decide what to do next about a run."""
    status = seen.status
    if status.phase and status.phase.finished:
        return Plan()
    if seen.run.spec.cancel and status.cancel_requested_at is None:
        return _latch_cancel(seen, now)
    if status.cancel_requested_at is not None:
        return _cancel(seen, now)
    if status.resolved is None or not status.attempts:
        return _admit(seen, now)
    attempt = status.attempts[-1]
    if attempt.reason is not None:
        return _give_up(seen, attempt, now)
    if seen.job is not None and seen.job.owner_uid != seen.identity.uid:
        return _finish(seen, _conflict(attempt), now)
    if seen.job is None and seen.pod is None:
        return _create(seen, status.resolved, attempt, now)
    return _follow(seen, status.resolved, attempt, now)


# Admission


def _admit(seen: Observed, now: datetime) -> Plan:
    missing = _missing(seen)
    if missing or seen.project is None or seen.target is None:
        return _wait(seen, missing, now)
    attempt = Attempt(
        number=1, job_name=job_name(seen.identity.name, seen.identity.uid, 1), created_at=format_time(now)
    )
    conditions = _conditions(seen, now)
    conditions.set(ConditionType.ADMITTED, "True", "Resolved", "project and target are resolved into status.resolved")
    return _status(
        seen,
        conditions,
        Phase.PENDING,
        "the Job is being created",
        resolved=resolve(seen.run, seen.identity, seen.project, seen.target, seen.runner_image),
        attempts=[attempt],
        reason=None,
    )


def _missing(seen: Observed) -> str:
    spec = seen.run.spec
    wanted = [("DbtProject", spec.project_ref.name, seen.project), ("DbtTarget", spec.target_ref.name, seen.target)]
    absent = [f"{kind} {name}" for kind, name, found in wanted if found is None]
    return f"{' and '.join(absent)} not found in namespace {seen.identity.namespace}" if absent else ""


def _wait(seen: Observed, missing: str, now: datetime) -> Plan:
    """What is applied together arrives in any order, so a missing reference gets the time that a pod has to start."""
    deadline = seen.created_at + timedelta(seconds=seconds(seen.run.spec.start_timeout or START_TIMEOUT))
    if now >= deadline:
        message = f"{missing}: create it, or correct the reference in a new DbtRun"
        return _finish(seen, Verdict(Reason.CONFIG_ERROR, message), now)
    conditions = _conditions(seen, now)
    conditions.set(ConditionType.ADMITTED, "False", "ReferenceNotFound", missing)
    found = _status(seen, conditions, Phase.PENDING, f"waiting: {missing}")
    return replace(found, requeue_after=(deadline - now).total_seconds())


# The Job


def _create(seen: Observed, resolved: Resolved, attempt: Attempt, now: datetime) -> Plan:
    if attempt.job_uid is not None:
        return _finish(seen, judge(None, None), now)
    if seen.refusal:
        return _refused(seen, resolved, attempt, now)
    spec = seen.run.spec
    manifest = job_builder.build(resolved, seen.identity, spec.project_ref.name, spec.target_ref.name, attempt.number)
    return Plan(actions=(CreateJob(manifest),))


def _refused(seen: Observed, resolved: Resolved, attempt: Attempt, now: datetime) -> Plan:
    """A quota or a policy may give way; it gets the time that a pod has to start."""
    message = f"the Job cannot be created: {seen.refusal}"
    deadline = parse_time(attempt.created_at) + timedelta(seconds=resolved.start_timeout_seconds)
    if now >= deadline:
        return _finish(seen, Verdict(Reason.CONFIG_ERROR, message), now)
    found = _status(seen, _conditions(seen, now), Phase.PENDING, f"waiting: {message}")
    return replace(found, requeue_after=_LOOK_AGAIN)


def _conflict(attempt: Attempt) -> Verdict:
    message = f"a Job {attempt.job_name} exists that does not belong to this run: delete it, and start a new DbtRun"
    return Verdict(Reason.NAME_CONFLICT, message)


def _follow(seen: Observed, resolved: Resolved, attempt: Attempt, now: datetime) -> Plan:
    """A Job or a pod is there: wait for its end, and see that its start takes no longer than it may."""
    attempt = _seen_attempt(seen, attempt)
    if _over(seen):
        return _finish(seen, judge(seen.pod, seen.job), now, attempt)
    if attempt.started_at is not None:
        return _status(
            seen,
            _conditions(seen, now),
            Phase.RUNNING,
            "dbt is running",
            attempts=_replaced(seen, attempt),
            started_at=seen.status.started_at or attempt.started_at,
            image_id=(seen.pod.dbt.image_id if seen.pod else None) or seen.status.image_id,
            reason=None,
        )
    return _starting(seen, resolved, attempt, now)


def _seen_attempt(seen: Observed, attempt: Attempt) -> Attempt:
    """The attempt with what can be seen of it now."""
    started_at = (seen.pod.dbt.started_at if seen.pod else "") or attempt.started_at
    job_uid = seen.job.uid if seen.job else attempt.job_uid
    return attempt.model_copy(update={"started_at": started_at, "job_uid": job_uid})


def _over(seen: Observed) -> bool:
    """Whether no container of the attempt runs or will run. The Job is asked only where the pod is gone."""
    if seen.pod is not None:
        return seen.pod.ended
    return seen.job is not None and seen.job.ended


def _starting(seen: Observed, resolved: Resolved, attempt: Attempt, now: datetime) -> Plan:
    since = (seen.job.created_at if seen.job else None) or parse_time(attempt.created_at)
    deadline = since + timedelta(seconds=resolved.start_timeout_seconds)
    held_up = _held_up(seen)
    if now >= deadline:
        why = held_up or stuck(seen.pod, seen.warnings)
        limit = duration(resolved.start_timeout_seconds)
        attempt = attempt.model_copy(update={"reason": why.reason, "message": f"{why.message} (startTimeout {limit})"})
        found = _status(seen, _conditions(seen, now), Phase.PENDING, f"giving up: {why.message}")
        return _with(found, attempts=_replaced(seen, attempt))
    message = f"waiting: {held_up.message}" if held_up else "the pod is being started"
    found = _status(
        seen, _conditions(seen, now), Phase.PENDING, message, attempts=_replaced(seen, attempt), reason=None
    )
    return replace(found, requeue_after=min(_LOOK_AGAIN, (deadline - now).total_seconds()))


def _held_up(seen: Observed) -> Verdict | None:
    """What keeps the pod from starting, where something says so already."""
    why = stuck(seen.pod, seen.warnings)
    told = seen.warnings or (seen.pod is not None and why.reason is not Reason.INFRASTRUCTURE)
    return why if told else None


def _give_up(seen: Observed, attempt: Attempt, now: datetime) -> Plan:
    """The pod did not start in time. The run ends only when it is gone: it could start while nobody looks."""
    actions: tuple[Action, ...] = ()
    if seen.job is not None and seen.job.owner_uid == seen.identity.uid:
        actions = (DeleteJob(attempt.job_name, seen.job.uid),)
    if actions or (seen.pod is not None and not seen.pod.ended):
        return Plan(actions=actions, requeue_after=_LOOK_AGAIN)
    return _finish(seen, Verdict(attempt.reason, attempt.message or ""), now, attempt)


# Cancelling


def _latch_cancel(seen: Observed, now: datetime) -> Plan:
    """Written before anything is stopped: that spec.cancel is set back to false changes nothing any more."""
    phase = seen.status.phase or Phase.PENDING
    conditions = _conditions(seen, now)
    return _status(seen, conditions, phase, "being cancelled", cancel_requested_at=format_time(now))


def _cancel(seen: Observed, now: datetime) -> Plan:
    """Stop what runs, and end the run when nothing does."""
    job = seen.job if seen.job is not None and seen.job.owner_uid == seen.identity.uid else None
    if (job is None and (seen.pod is None or seen.pod.ended)) or _over(seen):
        return _finish(seen, _cancelled(seen), now)
    actions: tuple[Action, ...] = ()
    if seen.pod is not None and seen.pod.dbt.started_at:
        # The pod only: its end is graceful, and the Job keeps what became of it.
        actions = () if seen.pod.deleting else (DeletePod(seen.pod.name, seen.pod.uid),)
    elif job is not None and seen.status.attempts:
        actions = (DeleteJob(seen.status.attempts[-1].job_name, job.uid),)
    return Plan(actions=actions, requeue_after=_LOOK_AGAIN)


def _cancelled(seen: Observed) -> Verdict:
    """A cancelled run is never a success, even if dbt was quicker."""
    if seen.pod is None or not seen.pod.dbt.ended:
        return Verdict(Reason.CANCELLED, "cancelled before dbt had started")
    found = judge(seen.pod, seen.job)
    said = found.summary.message if found.summary else "dbt left no result"
    return Verdict(Reason.CANCELLED, f"cancelled: {said}", found.exit_code, found.summary)


# The end


def _finish(seen: Observed, verdict: Verdict, now: datetime, attempt: Attempt | None = None) -> Plan:
    ended_at = (seen.pod.dbt.finished_at if seen.pod else "") or format_time(now)
    attempts = seen.status.attempts
    if attempt is not None or attempts:
        last = attempt or (attempts or [])[-1]
        last = last.model_copy(
            update={
                "finished_at": ended_at,
                "exit_code": verdict.exit_code,
                "reason": verdict.reason,
                "message": verdict.message if verdict.reason else None,
            }
        )
        attempts = _replaced(seen, last)
    started_at = seen.status.started_at or (attempts[-1].started_at if attempts else None)
    conditions = _conditions(seen, now)
    _end_conditions(conditions, seen, verdict)
    found = _status(
        seen,
        conditions,
        _END.get(verdict.reason, Phase.FAILED),
        verdict.message,
        reason=verdict.reason,
        attempts=attempts,
        started_at=started_at,
        finished_at=ended_at,
        duration=_duration(started_at, ended_at),
        image_id=(seen.pod.dbt.image_id if seen.pod else None) or seen.status.image_id,
    )
    return _with(found, **_results(seen, verdict.summary))


def _duration(started_at: str | None, ended_at: str) -> str | None:
    return duration((parse_time(ended_at) - parse_time(started_at)).total_seconds()) if started_at else None


def _results(seen: Observed, summary: Summary | None) -> dict[str, object]:
    """What the pod reported of nodes and artifacts."""
    found: dict[str, object] = {}
    if summary is not None:
        nodes = summary.nodes
        found["dbt_version"] = summary.dbt_version or None
        found["nodes"] = NodeCounts(
            **{name: getattr(nodes, name) for name in NodeCounts.model_fields if name != "done"},
            done=f"{nodes.total - nodes.skipped}/{nodes.total}",
        )
        found["failures"] = [
            NodeFailure(unique_id=f.unique_id, status=f.status, message=f.message or None) for f in summary.failures
        ] or None
    if (upload := uploaded(seen.pod)) is not None:
        found["artifacts"] = ArtifactsStatus(location=upload.location, objects=upload.objects)
    return found


def _end_conditions(conditions: Conditions, seen: Observed, verdict: Verdict) -> None:
    reason = str(verdict.reason or "Succeeded")
    state = "False" if verdict.reason else "True"
    conditions.set(ConditionType.SUCCEEDED, state, reason, verdict.message)  # type: ignore[arg-type]
    conditions.set(ConditionType.FINISHED, "True", reason, verdict.message)
    _tests_condition(conditions, verdict)
    _upload_condition(conditions, seen)
    if verdict.reason:
        conditions.stalled(reason, verdict.message)
    else:
        conditions.ready(reason, verdict.message)


def _tests_condition(conditions: Conditions, verdict: Verdict) -> None:
    summary = verdict.summary
    if summary is not None and summary.nodes.fail:
        conditions.set(ConditionType.TESTS_PASSED, "False", "TestFailed", f"{summary.nodes.fail} tests failed")
    elif verdict.reason is None:
        conditions.set(ConditionType.TESTS_PASSED, "True", "Passed")
    else:
        conditions.set(ConditionType.TESTS_PASSED, "Unknown", "NotFinished", "the run ended before all tests had run")


def _upload_condition(conditions: Conditions, seen: Observed) -> None:
    upload = uploaded(seen.pod)
    kind = ConditionType.ARTIFACTS_UPLOADED
    if upload is None:
        conditions.set(kind, "False", "NoReport", "nothing says that artifacts were uploaded")
    elif upload.error:
        conditions.set(kind, "False", "UploadFailed", upload.error)
    else:
        conditions.set(kind, "True", "Uploaded", f"{upload.objects} objects, {upload.size} bytes at {upload.location}")


# Putting a status together


def _conditions(seen: Observed, now: datetime) -> Conditions:
    return Conditions.of(seen.status.conditions, seen.identity.generation, now)


def _replaced(seen: Observed, attempt: Attempt) -> list[Attempt]:
    return [*(seen.status.attempts or [])[:-1], attempt]


def _status(seen: Observed, conditions: Conditions, phase: Phase, message: str, **changed: object) -> Plan:
    """The status as it is, with what has changed; and an event if the phase has."""
    if not phase.finished:
        conditions.set(ConditionType.FINISHED, "False", phase)
        conditions.set(ConditionType.SUCCEEDED, "Unknown", phase)
        conditions.progressing(phase, message)
    update = {
        "phase": phase,
        "message": message,
        "observed_generation": seen.identity.generation,
        "conditions": conditions.list(),
        **changed,
    }
    status = seen.status.model_copy(update=update)
    return Plan(status=status, events=_events(seen.status, status))


def _with(plan: Plan, **changed: object) -> Plan:
    return replace(plan, status=plan.status.model_copy(update=changed)) if plan.status else plan


def _events(old: DbtRunStatus, new: DbtRunStatus) -> tuple[Event, ...]:
    if old.phase == new.phase or new.phase is None:
        return ()
    if new.phase is Phase.FAILED:
        return (Event("Warning", str(new.reason), new.message or ""),)
    return (Event("Normal", str(new.phase), new.message or ""),)
