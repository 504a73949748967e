"""The planner of a DbtRun.

Not admitted -> Queued, if its target has no slot free -> Pending (admitted, its Job being started)
-> Running -> Succeeded, Failed, Cancelled or Skipped; or BackingOff, and Pending again for the next
attempt, or Queued before that. A step is taken on what was observed, never on an effect having been
issued: an attempt is written into status before its Job is created, and the Job's UID after, so an
operator that is killed in between finds what it must do, and a Job that vanishes is never made
twice.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from dbt_operator.api.kinds.project import DbtProject
from dbt_operator.api.kinds.run import Attempt, DbtRun
from dbt_operator.api.kinds.target import DbtTarget
from dbt_operator.api.parts.resolved import Resolved
from dbt_operator.api.status import ConditionType, Phase, Reason
from dbt_operator.planning.attempt import job as job_builder
from dbt_operator.planning.attempt import sizes
from dbt_operator.planning.attempt.pod_facts import JobFacts
from dbt_operator.planning.attempt.verdict import Verdict, judge, stuck
from dbt_operator.planning.common.compose import changed, elapsed
from dbt_operator.planning.common.conditions import Conditions
from dbt_operator.planning.common.durations import duration, format_time, parse_time, seconds
from dbt_operator.planning.common.names import FORCE_RELEASE, job_name
from dbt_operator.planning.common.plan import (
    Action,
    CreateJob,
    DeleteJob,
    DeletePod,
    Event,
    Plan,
    SettleSlots,
    fitted,
)
from dbt_operator.planning.policy.refusals import refusal
from dbt_operator.planning.queueing import positions, waiting
from dbt_operator.planning.run import expiry, part, promotion, retry, slot, suspension, timeouts
from dbt_operator.planning.run.admission import START_TIMEOUT, resolve, with_defaults
from dbt_operator.planning.run.facts import Observed, Stray
from dbt_operator.planning.run.progress import can_be_seen, longest, looks, shown
from dbt_operator.planning.run.status import (
    compose,
    conditions_of,
    not_uploaded,
    replaced,
    results,
    said_of_windows,
    set_end,
)
from dbt_operator.planning.state import compare

# Every other reason: Failed.
_END = {
    None: Phase.SUCCEEDED,
    Reason.CANCELLED: Phase.CANCELLED,
    Reason.YIELDED: Phase.CANCELLED,
    Reason.NOT_FRESH: Phase.SKIPPED,
}
_REPORT_LOST = (
    "cancelled; the pod is gone, and with it what it reported: what it finished is told by the "
    "artifacts"
)
# seconds; while a pod has not started: what holds it up is told by events, which are not watched
_LOOK_AGAIN = 5.0


def plan(seen: Observed, now: datetime) -> Plan:
    """Decide what to do next about a run.

    Raises:
        ValidationError: the status that was put together is none.
    """
    return fitted(_plan(seen, now))


def _plan(seen: Observed, now: datetime) -> Plan:
    status = seen.status
    if status.phase and status.phase.finished:
        return slot.clear(seen) or expiry.plan(seen, now)
    if (seen.run.spec.cancel or _told_to_end(seen)) and status.cancel_requested_at is None:
        return _latch_cancel(seen, now)
    if status.cancel_requested_at is not None:
        return _cancel(seen, now)
    if status.resolved is None or not status.attempts:
        return _admit(seen, now)
    return _go_on(seen, status.resolved, status.attempts[-1], now)


def _go_on(seen: Observed, resolved: Resolved, attempt: Attempt, now: datetime) -> Plan:
    """A run that has begun."""
    if seen.slot.released:
        return _released(seen, attempt, now)
    if seen.status.phase in (Phase.BACKING_OFF, Phase.QUEUED):
        return _between_attempts(seen, resolved, attempt, now)
    if (
        attempt.job_uid
        and seen.job is not None
        and seen.job.uid != attempt.job_uid
        and _is_ours(seen)
    ):
        return slot.clear(replace(seen, strays=(Stray(attempt.job_name, seen.job.uid),))) or Plan()
    if attempt.reason is not None:
        return _give_up(seen, attempt, now)
    if seen.job is not None and not (_is_ours(seen) and _is_as_made(seen, resolved, attempt)):
        return _finish(seen, _conflict(attempt), now)
    if seen.job is None and seen.pod is None:
        return _create(seen, resolved, attempt, now)
    return _follow(seen, resolved, attempt, now)


def _told_to_end(seen: Observed) -> bool:
    """Whether the backfill that the run is part of wants it to end at once."""
    return seen.orders is not None and seen.orders.stop == "Now"


# Admission


def _admit(seen: Observed, now: datetime) -> Plan:
    if seen.orders is not None:
        found = part.admit(seen, seen.orders, now)
        return _finish(seen, found, now) if isinstance(found, Verdict) else found
    missing = waiting.missing(seen.run.spec, seen)
    if missing or seen.project is None or seen.target is None:
        return _wait(seen, missing, now)
    run = with_defaults(seen.run, seen.project[0])
    if refused := refusal(run.spec, seen.project[0].spec, seen.target[0].spec):
        return _refuse(seen, refused, now)
    if too_large := _too_large(seen, run, seen.project, seen.target):
        return _refuse(seen, too_large, now)
    if not waiting.may_begin(seen):
        limit = seconds(run.spec.queue_timeout) if run.spec.queue_timeout else None
        return _claim(seen, limit, now)
    compared_with = (
        compare.wanted(run, seen.project[0], seen.state_run) if compare.compares(run.spec) else None
    )
    if (
        compared_with is None
        and compare.compares(run.spec)
        and compare.missing_is_failure(run.spec)
    ):
        return _finish(seen, Verdict(Reason.MISSING_STATE, compare.NONE_YET), now)
    attempt = Attempt(
        number=1,
        job_name=job_name(seen.identity.name, seen.identity.uid, 1),
        created_at=format_time(now),
    )
    conditions = conditions_of(seen, now)
    conditions.set(
        ConditionType.ADMITTED,
        "True",
        "Resolved",
        "project and target are resolved into status.resolved",
    )
    return compose(
        seen,
        conditions,
        Phase.PENDING,
        "the Job is being created",
        resolved=resolve(
            run, seen.identity, seen.project, seen.target, seen.runner_image, compared_with
        ),
        attempts=[attempt],
        reason=None,
    )


def _too_large(
    seen: Observed, run: DbtRun, project: tuple[DbtProject, int], target: tuple[DbtTarget, int]
) -> str:
    """What of the run is too large, whether or not there is a state to compare with once it
    begins.
    """
    compared_with = sizes.UNKNOWN_STATE if compare.compares(run.spec) else None
    resolved = resolve(run, seen.identity, project, target, seen.runner_image, compared_with)
    return sizes.refusal(run.spec, resolved, seen.identity, part.windows_of(run.spec.windows))


def _refuse(seen: Observed, message: str, now: datetime) -> Plan:
    conditions = conditions_of(seen, now)
    conditions.set(ConditionType.ADMITTED, "False", Reason.INVALID_SPEC, message)
    return _finish(seen, Verdict(Reason.INVALID_SPEC, message), now, conditions=conditions)


def _claim(seen: Observed, limit: int | None, now: datetime) -> Plan:
    """Ask for a slot, or wait in the queue for no longer than ``limit`` allows."""
    if seen.orders is not None:
        return part.without_slot(seen, seen.orders, now)
    if waiting.asks(seen):
        return Plan(actions=(SettleSlots(seen.run.spec.target_ref.name),))
    due = positions.deadline(seen.status, limit, now, seen.status.attempts)
    if due is not None and now >= due:
        text = waiting.message(seen.run.spec.target_ref.name, seen.status, seen.slot)
        message = f"{text}, for longer than queueTimeout allows"
        return _finish(seen, Verdict(Reason.QUEUE_TIMEOUT, message), now)
    return slot.queued(seen, due, now)


def _wait(seen: Observed, missing: str, now: datetime) -> Plan:
    """What is applied together arrives in any order, so a missing reference gets the time that a
    pod has to start.
    """
    deadline = waiting.missing_since(seen, now) + timedelta(
        seconds=seconds(seen.run.spec.start_timeout or START_TIMEOUT)
    )
    if now >= deadline:
        message = f"{missing}: {waiting.remedy(seen, 'DbtRun')}"
        return _finish(seen, Verdict(Reason.CONFIG_ERROR, message), now)
    conditions = conditions_of(seen, now)
    conditions.set(ConditionType.ADMITTED, "False", waiting.reason_of_missing(seen), missing)
    found = compose(seen, conditions, Phase.PENDING, f"waiting: {missing}")
    return replace(found, requeue_after=(deadline - now).total_seconds())


# The Job


def _create(seen: Observed, resolved: Resolved, attempt: Attempt, now: datetime) -> Plan:
    if attempt.job_uid is not None:
        return _end_attempt(seen, judge(None, None), now, attempt)
    if seen.refusal:
        return _refused(seen, resolved, attempt, now)
    spec = seen.run.spec
    names = (spec.project_ref.name, spec.target_ref.name)
    told = _told(seen, resolved, attempt)
    return Plan(
        actions=(
            CreateJob(job_builder.build(resolved, seen.identity, *names, attempt.number, told)),
        )
    )


def _told(seen: Observed, resolved: Resolved, attempt: Attempt) -> job_builder.Told:
    spec = seen.run.spec
    left = timeouts.left(seen.run, resolved, attempt)
    commit = seen.status.commit or ""
    windows = part.windows_of(spec.windows)
    states = seen.status.windows.states if seen.status.windows else ""
    return job_builder.Told(
        left, commit, windows, states, stop_on_failure=spec.stop_on_failure is not False
    )


def _is_as_made(seen: Observed, resolved: Resolved, attempt: Attempt) -> bool:
    """Whether a Job of this run is the one that the attempt is to have. Once its UID stands in
    status it is.
    """
    if attempt.job_uid is not None or seen.job is None or seen.job.plan is None:
        return True
    told = _told(seen, resolved, attempt)
    return job_builder.is_of_attempt(
        seen.job.plan, job_builder.run_plan(resolved, seen.identity, attempt.number, told)
    )


def _refused(seen: Observed, resolved: Resolved, attempt: Attempt, now: datetime) -> Plan:
    """A quota or a policy may give way; it gets the time that a pod has to start."""
    message = f"the Job cannot be created: {seen.refusal}"
    deadline = parse_time(attempt.created_at) + timedelta(seconds=resolved.start_timeout_seconds)
    if now >= deadline:
        return _finish(seen, Verdict(Reason.CONFIG_ERROR, message), now)
    found = compose(seen, conditions_of(seen, now), Phase.PENDING, f"waiting: {message}")
    return replace(found, requeue_after=_LOOK_AGAIN)


def _conflict(attempt: Attempt) -> Verdict:
    message = (
        f"a Job {attempt.job_name} exists that is not this run's: delete it, and start a new DbtRun"
    )
    return Verdict(Reason.NAME_CONFLICT, message)


def _follow(seen: Observed, resolved: Resolved, attempt: Attempt, now: datetime) -> Plan:
    """A Job or a pod is there: wait for its end, and see that its start takes no longer than it
    may.
    """
    seen = suspension.without_preempted_pod(seen)
    attempt = _seen_attempt(seen, attempt)
    if _over(seen):
        verdict = suspension.explained(_judge(seen), seen)
        if verdict.reason is not None and suspension.may_resume(seen):
            return _decide(seen, attempt, verdict, verdict.message, now)
        return _end_attempt(seen, verdict, now, attempt)
    if (order := part.stop(seen)) is not None:
        return order
    if attempt.started_at is not None:
        return _running(seen, attempt, attempt.started_at, now)
    return _starting(seen, resolved, attempt, now)


def _running(seen: Observed, attempt: Attempt, started_at: str, now: datetime) -> Plan:
    found = compose(
        seen,
        conditions_of(seen, now),
        Phase.RUNNING,
        "dbt is running",
        attempts=replaced(seen, attempt),
        started_at=seen.status.started_at or started_at,
        image_id=_image_id(seen),
        reason=None,
        **shown(seen.progress),
    )
    found = part.with_windows(found, seen, seen.progress.windows if seen.progress else "")
    if not can_be_seen(seen.status, seen.pod):
        return found
    _, wait = looks((now - parse_time(started_at)).total_seconds(), longest(seen.run))
    return replace(found, requeue_after=wait)


def _seen_attempt(seen: Observed, attempt: Attempt) -> Attempt:
    """The attempt with what can be seen of it now."""
    started_at = (seen.pod.dbt.started_at if seen.pod else "") or attempt.started_at
    job_uid = seen.job.uid if seen.job else attempt.job_uid
    queued = suspension.queued_seconds(seen.job) or attempt.queued_seconds
    return attempt.model_copy(
        update={"started_at": started_at, "job_uid": job_uid, "queued_seconds": queued}
    )


def _over(seen: Observed) -> bool:
    """Whether no container of the attempt runs or will run. The Job is asked only where the pod is
    gone.
    """
    if seen.pod is not None:
        return seen.pod.ended
    return seen.job is not None and seen.job.ended


def _starting(seen: Observed, resolved: Resolved, attempt: Attempt, now: datetime) -> Plan:
    if seen.job is not None and seen.job.suspended:
        return _suspended(seen, seen.job, resolved, attempt, now)
    if (gate := slot.gate(seen, now)) is not None:
        return gate
    since = suspension.started(seen.job) or parse_time(attempt.created_at)
    if seen.slot.since:  # later than the Job only where the target was created anew
        since = max(since, parse_time(seen.slot.since))
    deadline = since + timedelta(seconds=resolved.start_timeout_seconds)
    held_up = _held_up(seen)
    if now >= deadline:
        why = held_up or stuck(seen.pod, seen.warnings)
        limit = duration(resolved.start_timeout_seconds)
        return _decide(seen, attempt, why, f"{why.message} (startTimeout {limit})", now)
    message = f"waiting: {held_up.message}" if held_up else "the pod is being started"
    found = compose(
        seen,
        conditions_of(seen, now),
        Phase.PENDING,
        message,
        attempts=replaced(seen, attempt),
        reason=None,
    )
    return replace(found, requeue_after=min(_LOOK_AGAIN, (deadline - now).total_seconds()))


def _suspended(
    seen: Observed, job: JobFacts, resolved: Resolved, attempt: Attempt, now: datetime
) -> Plan:
    """The Job waits for its turn, for as long as it may."""
    message = suspension.waiting(resolved)
    due = suspension.queue_deadline(resolved, replaced(seen, attempt), job)
    if due is not None and now >= due:
        why = Verdict(Reason.QUEUE_TIMEOUT, f"{message}, for longer than queueTimeout allows")
        return _decide(seen, attempt, why, why.message, now)
    conditions = conditions_of(seen, now)
    found = compose(
        seen, conditions, Phase.PENDING, message, attempts=replaced(seen, attempt), reason=None
    )
    return replace(found, requeue_after=(due - now).total_seconds() if due else None)


def _decide(seen: Observed, attempt: Attempt, why: Verdict, message: str, now: datetime) -> Plan:
    """Record that the attempt is given up, before its Job is deleted."""
    attempt = attempt.model_copy(update={"reason": why.reason, "message": message})
    phase = Phase.RUNNING if attempt.started_at else Phase.PENDING
    found = compose(seen, conditions_of(seen, now), phase, f"giving up: {why.message}")
    return changed(found, attempts=replaced(seen, attempt))


def _held_up(seen: Observed) -> Verdict | None:
    """What keeps the pod from starting, where something says so already."""
    why = stuck(seen.pod, seen.warnings)
    told = seen.warnings or (seen.pod is not None and why.reason is not Reason.INFRASTRUCTURE)
    return why if told else None


def _give_up(seen: Observed, attempt: Attempt, now: datetime) -> Plan:
    """The pod did not start in time, or the Job was suspended. The attempt ends only when both are
    gone: they could start while nobody looks.
    """
    actions: tuple[Action, ...] = ()
    if seen.job is not None and _is_ours(seen):
        actions = (DeleteJob(attempt.job_name, seen.job.uid),)
    if actions or (seen.pod is not None and not seen.pod.ended):
        return Plan(actions=actions, requeue_after=_LOOK_AGAIN)
    left = judge(seen.pod, seen.job)
    verdict = replace(left, reason=attempt.reason, message=attempt.message or "")
    return _end_attempt(seen, verdict, now, attempt)


# Another attempt


def _judge(seen: Observed) -> Verdict:
    """How the attempt ended; one that ran another image than the attempts before it proves
    nothing.
    """
    ran = seen.pod.dbt.image_id if seen.pod else ""
    if ran and seen.status.image_id and ran != seen.status.image_id:
        message = (
            f"the tag was moved since the first pod, from {seen.status.image_id} to {ran}: pin the "
            "image by digest"
        )
        return Verdict(Reason.CONFIG_ERROR, message)
    found = judge(seen.pod, seen.job)
    found = part.checked(found, seen, said_of_windows(seen.pod, found.summary))
    resolved, missing = seen.status.resolved, not_uploaded(seen.pod)
    if (
        found.reason is None
        and missing
        and resolved is not None
        and resolved.artifacts.on_failure == "Fail"
    ):
        return Verdict(
            Reason.UPLOAD_FAILED, f"dbt succeeded, but {missing}", found.exit_code, found.summary
        )
    return found


def _image_id(seen: Observed) -> str | None:
    """That of the first attempt stands."""
    return seen.status.image_id or (seen.pod.dbt.image_id if seen.pod else None) or None


def _end_attempt(seen: Observed, verdict: Verdict, now: datetime, attempt: Attempt) -> Plan:
    """An attempt is over, and no pod of it lives: the run is over too, or backs off."""
    resolved = seen.status.resolved
    started_at = seen.status.started_at or attempt.started_at
    since = None if seen.run.spec.windows else started_at  # timeout is that of a window
    if resolved is None or not retry.again(resolved, verdict, attempt.number, since, now):
        return _finish(seen, verdict, now, attempt)
    ended = _ended_attempt(seen, attempt, verdict, now)
    following = retry.following(resolved, ended)
    text = f"attempt {attempt.number} failed ({verdict.reason}): {verdict.message}"
    found = compose(
        seen,
        conditions_of(seen, now),
        Phase.BACKING_OFF,
        f"{text}; the next one starts at {format_time(following)}",
        reason=verdict.reason,
        attempts=replaced(seen, ended),
        started_at=started_at,
        image_id=_image_id(seen),
    )
    found = part.with_windows(
        found, seen, said_of_windows(seen.pod, verdict.summary), verdict.reason
    )
    found = changed(found, **results(seen, verdict.summary))
    return replace(found, requeue_after=max(0.0, (following - now).total_seconds()))


def _between_attempts(seen: Observed, resolved: Resolved, last: Attempt, now: datetime) -> Plan:
    """Begin the next attempt when it is due, nothing of the last one lives, and there is a slot for
    it.
    """
    due = retry.following(resolved, last)
    if now < due:
        return slot.yielded(seen, now) or Plan(requeue_after=(due - now).total_seconds())
    if seen.pod is not None and not seen.pod.ended:
        return Plan(requeue_after=_LOOK_AGAIN)
    over = timeouts.over_at(seen.run, resolved)
    if over is not None and now >= over:
        message = (
            "spec.timeout was over before another attempt could begin; the last one: "
            f"{seen.status.message}"
        )
        return _finish(seen, Verdict(Reason.TIMEOUT, message), now)
    if not waiting.may_begin(seen):
        return _claim(seen, resolved.queue_timeout_seconds, now)
    return _next_attempt(seen, resolved, last, now)


def _next_attempt(seen: Observed, resolved: Resolved, last: Attempt, now: datetime) -> Plan:
    number = last.number + 1
    name = job_name(seen.identity.name, seen.identity.uid, number)
    attempt = Attempt(number=number, job_name=name, created_at=format_time(now))
    return compose(
        seen,
        conditions_of(seen, now),
        Phase.PENDING,
        f"attempt {number} of {resolved.retry.max_attempts if resolved.retry else number} is being "
        "started",
        reason=None,
        attempts=[*(seen.status.attempts or []), attempt],
        nodes=None,
        failures=None,
        artifacts=None,
    )


def _ended_attempt(seen: Observed, attempt: Attempt, verdict: Verdict, now: datetime) -> Attempt:
    """What is recorded of an attempt at its end."""
    return attempt.model_copy(
        update={
            "finished_at": (seen.pod.dbt.finished_at if seen.pod else "") or format_time(now),
            "exit_code": verdict.exit_code,
            "reason": verdict.reason,
            "message": verdict.message if verdict.reason else None,
        }
    )


# Cancelling, and giving up by hand


def _released(seen: Observed, attempt: Attempt, now: datetime) -> Plan:
    """Its slot was released by force: somebody has said that its pod will do no more. It is not
    tried again.
    """
    if seen.job is not None and _is_ours(seen) and not seen.job.deleting:
        return Plan(actions=(DeleteJob(attempt.job_name, seen.job.uid),))
    message = (
        f"the annotation {FORCE_RELEASE} of DbtTarget {seen.run.spec.target_ref.name} has released "
        "its slot"
    )
    return _finish(seen, Verdict(Reason.INFRASTRUCTURE, message), now)


def _is_ours(seen: Observed) -> bool:
    """Whether the Job belongs to this run."""
    return seen.job is not None and seen.job.owner_uid == seen.identity.uid


def _latch_cancel(seen: Observed, now: datetime) -> Plan:
    """Written before anything is stopped: that spec.cancel is set back to false changes nothing any
    more.
    """
    phase = seen.status.phase or Phase.PENDING
    conditions = conditions_of(seen, now)
    return compose(seen, conditions, phase, "being cancelled", cancel_requested_at=format_time(now))


def _cancel(seen: Observed, now: datetime) -> Plan:
    """Stop what runs, and end the run when nothing does."""
    job = seen.job if _is_ours(seen) else None
    over = _over(seen) and not suspension.may_resume(seen)
    if (job is None and (seen.pod is None or seen.pod.ended)) or over:
        return _finish(seen, _cancelled(seen), now)
    actions: tuple[Action, ...] = ()
    if seen.pod is not None and seen.pod.dbt.started_at and not seen.pod.ended:
        # The pod only: its end is graceful, and the Job keeps what became of it.
        actions = () if seen.pod.deleting else (DeletePod(seen.pod.name, seen.pod.uid),)
    elif job is not None and seen.status.attempts:
        actions = (DeleteJob(seen.status.attempts[-1].job_name, job.uid),)
    return Plan(actions=actions, requeue_after=_LOOK_AGAIN)


def _cancelled(seen: Observed) -> Verdict:
    """A cancelled run is never a success, even if dbt was quicker."""
    attempts = seen.status.attempts or []
    if seen.pod is None or not seen.pod.dbt.ended:
        started = bool(attempts) and attempts[-1].started_at is not None
        return Verdict(
            Reason.CANCELLED, _REPORT_LOST if started else "cancelled before dbt had started"
        )
    found = judge(seen.pod, seen.job)
    said = found.summary.message if found.summary else "dbt left no result"
    return Verdict(Reason.CANCELLED, f"cancelled: {said}", found.exit_code, found.summary)


# The end


def _finish(
    seen: Observed,
    verdict: Verdict,
    now: datetime,
    attempt: Attempt | None = None,
    conditions: Conditions | None = None,
) -> Plan:
    promoted = promotion.due(seen, verdict, attempt)
    if promoted is not None and not seen.refusal:
        return Plan(
            actions=(promoted,)
        )  # before the end is told: whoever waits for that may compare with it
    attempts = seen.status.attempts
    ended_at = format_time(now)
    last = attempt or (attempts[-1] if attempts else None)
    if last is not None and last.finished_at is None:
        ended = _ended_attempt(seen, last, verdict, now)
        ended_at = ended.finished_at or ended_at
        attempts = replaced(seen, ended)
    started_at = seen.status.started_at or (attempts[-1].started_at if attempts else None)
    conditions = conditions or conditions_of(seen, now)
    set_end(conditions, seen, verdict)
    found = compose(
        seen,
        conditions,
        _END.get(verdict.reason, Phase.FAILED),
        verdict.message,
        reason=verdict.reason,
        attempts=attempts,
        started_at=started_at,
        finished_at=ended_at,
        duration=elapsed(started_at, ended_at),
        image_id=_image_id(seen),
    )
    if last is not None:
        found = part.with_windows(
            found, seen, said_of_windows(seen.pod, verdict.summary), verdict.reason
        )
    found = changed(found, **results(seen, verdict.summary))
    if promoted is None:
        return found
    # The run is what it is, and holds a slot: later ones compare with an older state, and build
    # more than they need.
    lost = Event(
        "Warning", "StateNotPromoted", f"its state did not become the current one: {seen.refusal}"
    )
    return replace(found, events=(*found.events, lost))
