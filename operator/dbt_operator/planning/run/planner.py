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
from dbt_operator.planning.run.facts import RunFacts, Stray
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


def plan(facts: RunFacts, now: datetime) -> Plan:
    """Decide what to do next about a run.

    Raises:
        ValidationError: the status that was put together is none.
    """
    return fitted(_plan(facts, now))


def _plan(facts: RunFacts, now: datetime) -> Plan:
    status = facts.status
    if status.phase and status.phase.finished:
        return slot.delete_strays(facts) or expiry.plan(facts, now)
    if (facts.run.spec.cancel or _told_to_end(facts)) and status.cancel_requested_at is None:
        return _latch_cancel(facts, now)
    if status.cancel_requested_at is not None:
        return _cancel(facts, now)
    if status.resolved is None or not status.attempts:
        return _admit(facts, now)
    return _go_on(facts, status.resolved, status.attempts[-1], now)


def _go_on(facts: RunFacts, resolved: Resolved, attempt: Attempt, now: datetime) -> Plan:
    """A run that has begun."""
    if facts.slot.released:
        return _released(facts, attempt, now)
    if facts.status.phase in (Phase.BACKING_OFF, Phase.QUEUED):
        return _between_attempts(facts, resolved, attempt, now)
    if (
        attempt.job_uid
        and facts.job is not None
        and facts.job.uid != attempt.job_uid
        and _is_ours(facts)
    ):
        return (
            slot.delete_strays(replace(facts, strays=(Stray(attempt.job_name, facts.job.uid),)))
            or Plan()
        )
    if attempt.reason is not None:
        return _give_up(facts, attempt, now)
    if facts.job is not None and not (_is_ours(facts) and _is_as_made(facts, resolved, attempt)):
        return _finish(facts, _conflict(attempt), now)
    if facts.job is None and facts.pod is None:
        return _create(facts, resolved, attempt, now)
    return _follow(facts, resolved, attempt, now)


def _told_to_end(facts: RunFacts) -> bool:
    """Whether the backfill that the run is part of wants it to end at once."""
    return facts.orders is not None and facts.orders.stop == "Now"


# Admission


def _admit(facts: RunFacts, now: datetime) -> Plan:
    if facts.orders is not None:
        found = part.admit(facts, facts.orders, now)
        return _finish(facts, found, now) if isinstance(found, Verdict) else found
    missing = waiting.missing(facts.run.spec, facts)
    if missing or facts.project is None or facts.target is None:
        return _wait(facts, missing, now)
    run = with_defaults(facts.run, facts.project[0])
    if refused := refusal(run.spec, facts.project[0].spec, facts.target[0].spec):
        return _refuse(facts, refused, now)
    if too_large := _too_large(facts, run, facts.project, facts.target):
        return _refuse(facts, too_large, now)
    if not waiting.may_begin(facts):
        limit = seconds(run.spec.queue_timeout) if run.spec.queue_timeout else None
        return _claim(facts, limit, now)
    compared_with = (
        compare.wanted(run, facts.project[0], facts.state_run)
        if compare.compares(run.spec)
        else None
    )
    if (
        compared_with is None
        and compare.compares(run.spec)
        and compare.missing_is_failure(run.spec)
    ):
        return _finish(facts, Verdict(Reason.MISSING_STATE, compare.NONE_YET), now)
    attempt = Attempt(
        number=1,
        job_name=job_name(facts.identity.name, facts.identity.uid, 1),
        created_at=format_time(now),
    )
    conditions = conditions_of(facts, now)
    conditions.set(
        ConditionType.ADMITTED,
        "True",
        "Resolved",
        "project and target are resolved into status.resolved",
    )
    return compose(
        facts,
        conditions,
        Phase.PENDING,
        "the Job is being created",
        resolved=resolve(
            run, facts.identity, facts.project, facts.target, facts.runner_image, compared_with
        ),
        attempts=[attempt],
        reason=None,
    )


def _too_large(
    facts: RunFacts, run: DbtRun, project: tuple[DbtProject, int], target: tuple[DbtTarget, int]
) -> str:
    """What of the run is too large, whether or not there is a state to compare with once it
    begins.
    """
    compared_with = sizes.UNKNOWN_STATE if compare.compares(run.spec) else None
    resolved = resolve(run, facts.identity, project, target, facts.runner_image, compared_with)
    return sizes.refusal(run.spec, resolved, facts.identity, part.windows_of(run.spec.windows))


def _refuse(facts: RunFacts, message: str, now: datetime) -> Plan:
    conditions = conditions_of(facts, now)
    conditions.set(ConditionType.ADMITTED, "False", Reason.INVALID_SPEC, message)
    return _finish(facts, Verdict(Reason.INVALID_SPEC, message), now, conditions=conditions)


def _claim(facts: RunFacts, limit: int | None, now: datetime) -> Plan:
    """Ask for a slot, or wait in the queue for no longer than ``limit`` allows."""
    if facts.orders is not None:
        return part.wait_for_windows(facts, facts.orders, now)
    if waiting.asks(facts):
        return Plan(actions=(SettleSlots(facts.run.spec.target_ref.name),))
    due = positions.deadline(facts.status, limit, now, facts.status.attempts)
    if due is not None and now >= due:
        text = waiting.message(facts.run.spec.target_ref.name, facts.status, facts.slot)
        message = f"{text}, for longer than queueTimeout allows"
        return _finish(facts, Verdict(Reason.QUEUE_TIMEOUT, message), now)
    return slot.wait_in_queue(facts, due, now)


def _wait(facts: RunFacts, missing: str, now: datetime) -> Plan:
    """What is applied together arrives in any order, so a missing reference gets the time that a
    pod has to start.
    """
    deadline = waiting.missing_since(facts, now) + timedelta(
        seconds=seconds(facts.run.spec.start_timeout or START_TIMEOUT)
    )
    if now >= deadline:
        message = f"{missing}: {waiting.remedy(facts, 'DbtRun')}"
        return _finish(facts, Verdict(Reason.CONFIG_ERROR, message), now)
    conditions = conditions_of(facts, now)
    conditions.set(ConditionType.ADMITTED, "False", waiting.reason_of_missing(facts), missing)
    found = compose(facts, conditions, Phase.PENDING, f"waiting: {missing}")
    return replace(found, requeue_after=(deadline - now).total_seconds())


# The Job


def _create(facts: RunFacts, resolved: Resolved, attempt: Attempt, now: datetime) -> Plan:
    if attempt.job_uid is not None:
        return _end_attempt(facts, judge(None, None), now, attempt)
    if facts.refusal:
        return _refused(facts, resolved, attempt, now)
    spec = facts.run.spec
    names = (spec.project_ref.name, spec.target_ref.name)
    told = _told(facts, resolved, attempt)
    return Plan(
        actions=(
            CreateJob(job_builder.build(resolved, facts.identity, *names, attempt.number, told)),
        )
    )


def _told(facts: RunFacts, resolved: Resolved, attempt: Attempt) -> job_builder.Told:
    spec = facts.run.spec
    left = timeouts.find_seconds_left(facts.run, resolved, attempt)
    commit = facts.status.commit or ""
    windows = part.windows_of(spec.windows)
    states = facts.status.windows.states if facts.status.windows else ""
    return job_builder.Told(
        left, commit, windows, states, stop_on_failure=spec.stop_on_failure is not False
    )


def _is_as_made(facts: RunFacts, resolved: Resolved, attempt: Attempt) -> bool:
    """Whether a Job of this run is the one that the attempt is to have. Once its UID stands in
    status it is.
    """
    if attempt.job_uid is not None or facts.job is None or facts.job.plan is None:
        return True
    told = _told(facts, resolved, attempt)
    return job_builder.is_of_attempt(
        facts.job.plan, job_builder.run_plan(resolved, facts.identity, attempt.number, told)
    )


def _refused(facts: RunFacts, resolved: Resolved, attempt: Attempt, now: datetime) -> Plan:
    """A quota or a policy may give way; it gets the time that a pod has to start."""
    message = f"the Job cannot be created: {facts.refusal}"
    deadline = parse_time(attempt.created_at) + timedelta(seconds=resolved.start_timeout_seconds)
    if now >= deadline:
        return _finish(facts, Verdict(Reason.CONFIG_ERROR, message), now)
    found = compose(facts, conditions_of(facts, now), Phase.PENDING, f"waiting: {message}")
    return replace(found, requeue_after=_LOOK_AGAIN)


def _conflict(attempt: Attempt) -> Verdict:
    message = (
        f"a Job {attempt.job_name} exists that is not this run's: delete it, and start a new DbtRun"
    )
    return Verdict(Reason.NAME_CONFLICT, message)


def _follow(facts: RunFacts, resolved: Resolved, attempt: Attempt, now: datetime) -> Plan:
    """A Job or a pod is there: wait for its end, and see that its start takes no longer than it
    may.
    """
    facts = suspension.without_preempted_pod(facts)
    attempt = _seen_attempt(facts, attempt)
    if _over(facts):
        verdict = suspension.explain_verdict(_judge(facts), facts)
        if verdict.reason is not None and suspension.may_resume(facts):
            return _decide(facts, attempt, verdict, verdict.message, now)
        return _end_attempt(facts, verdict, now, attempt)
    if (order := part.pass_on_stop(facts)) is not None:
        return order
    if attempt.started_at is not None:
        return _running(facts, attempt, attempt.started_at, now)
    return _starting(facts, resolved, attempt, now)


def _running(facts: RunFacts, attempt: Attempt, started_at: str, now: datetime) -> Plan:
    found = compose(
        facts,
        conditions_of(facts, now),
        Phase.RUNNING,
        "dbt is running",
        attempts=replaced(facts, attempt),
        started_at=facts.status.started_at or started_at,
        image_id=_image_id(facts),
        reason=None,
        **shown(facts.progress),
    )
    found = part.with_windows(found, facts, facts.progress.windows if facts.progress else "")
    if not can_be_seen(facts.status, facts.pod):
        return found
    _, wait = looks((now - parse_time(started_at)).total_seconds(), longest(facts.run))
    return replace(found, requeue_after=wait)


def _seen_attempt(facts: RunFacts, attempt: Attempt) -> Attempt:
    """The attempt with what can be seen of it now."""
    started_at = (facts.pod.dbt.started_at if facts.pod else "") or attempt.started_at
    job_uid = facts.job.uid if facts.job else attempt.job_uid
    queued = suspension.queued_seconds(facts.job) or attempt.queued_seconds
    return attempt.model_copy(
        update={"started_at": started_at, "job_uid": job_uid, "queued_seconds": queued}
    )


def _over(facts: RunFacts) -> bool:
    """Whether no container of the attempt runs or will run. The Job is asked only where the pod is
    gone.
    """
    if facts.pod is not None:
        return facts.pod.ended
    return facts.job is not None and facts.job.ended


def _starting(facts: RunFacts, resolved: Resolved, attempt: Attempt, now: datetime) -> Plan:
    if facts.job is not None and facts.job.suspended:
        return _suspended(facts, facts.job, resolved, attempt, now)
    if (gate := slot.open_gate(facts, now)) is not None:
        return gate
    since = suspension.find_start(facts.job) or parse_time(attempt.created_at)
    if facts.slot.since:  # later than the Job only where the target was created anew
        since = max(since, parse_time(facts.slot.since))
    deadline = since + timedelta(seconds=resolved.start_timeout_seconds)
    held_up = _held_up(facts)
    if now >= deadline:
        why = held_up or stuck(facts.pod, facts.warnings)
        limit = duration(resolved.start_timeout_seconds)
        return _decide(facts, attempt, why, f"{why.message} (startTimeout {limit})", now)
    message = f"waiting: {held_up.message}" if held_up else "the pod is being started"
    found = compose(
        facts,
        conditions_of(facts, now),
        Phase.PENDING,
        message,
        attempts=replaced(facts, attempt),
        reason=None,
    )
    return replace(found, requeue_after=min(_LOOK_AGAIN, (deadline - now).total_seconds()))


def _suspended(
    facts: RunFacts, job: JobFacts, resolved: Resolved, attempt: Attempt, now: datetime
) -> Plan:
    """The Job waits for its turn, for as long as it may."""
    message = suspension.say_waiting(resolved)
    due = suspension.find_queue_deadline(resolved, replaced(facts, attempt), job)
    if due is not None and now >= due:
        why = Verdict(Reason.QUEUE_TIMEOUT, f"{message}, for longer than queueTimeout allows")
        return _decide(facts, attempt, why, why.message, now)
    conditions = conditions_of(facts, now)
    found = compose(
        facts, conditions, Phase.PENDING, message, attempts=replaced(facts, attempt), reason=None
    )
    return replace(found, requeue_after=(due - now).total_seconds() if due else None)


def _decide(facts: RunFacts, attempt: Attempt, why: Verdict, message: str, now: datetime) -> Plan:
    """Record that the attempt is given up, before its Job is deleted."""
    attempt = attempt.model_copy(update={"reason": why.reason, "message": message})
    phase = Phase.RUNNING if attempt.started_at else Phase.PENDING
    found = compose(facts, conditions_of(facts, now), phase, f"giving up: {why.message}")
    return changed(found, attempts=replaced(facts, attempt))


def _held_up(facts: RunFacts) -> Verdict | None:
    """What keeps the pod from starting, where something says so already."""
    why = stuck(facts.pod, facts.warnings)
    told = facts.warnings or (facts.pod is not None and why.reason is not Reason.INFRASTRUCTURE)
    return why if told else None


def _give_up(facts: RunFacts, attempt: Attempt, now: datetime) -> Plan:
    """The pod did not start in time, or the Job was suspended. The attempt ends only when both are
    gone: they could start while nobody looks.
    """
    actions: tuple[Action, ...] = ()
    if facts.job is not None and _is_ours(facts):
        actions = (DeleteJob(attempt.job_name, facts.job.uid),)
    if actions or (facts.pod is not None and not facts.pod.ended):
        return Plan(actions=actions, requeue_after=_LOOK_AGAIN)
    left = judge(facts.pod, facts.job)
    verdict = replace(left, reason=attempt.reason, message=attempt.message or "")
    return _end_attempt(facts, verdict, now, attempt)


# Another attempt


def _judge(facts: RunFacts) -> Verdict:
    """How the attempt ended; one that ran another image than the attempts before it proves
    nothing.
    """
    ran = facts.pod.dbt.image_id if facts.pod else ""
    if ran and facts.status.image_id and ran != facts.status.image_id:
        message = (
            f"the tag was moved since the first pod, from {facts.status.image_id} to {ran}: pin "
            "the image by digest"
        )
        return Verdict(Reason.CONFIG_ERROR, message)
    found = judge(facts.pod, facts.job)
    found = part.check_windows(found, facts, said_of_windows(facts.pod, found.summary))
    resolved, missing = facts.status.resolved, not_uploaded(facts.pod)
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


def _image_id(facts: RunFacts) -> str | None:
    """That of the first attempt stands."""
    return facts.status.image_id or (facts.pod.dbt.image_id if facts.pod else None) or None


def _end_attempt(facts: RunFacts, verdict: Verdict, now: datetime, attempt: Attempt) -> Plan:
    """An attempt is over, and no pod of it lives: the run is over too, or backs off."""
    resolved = facts.status.resolved
    started_at = facts.status.started_at or attempt.started_at
    since = None if facts.run.spec.windows else started_at  # timeout is that of a window
    if resolved is None or not retry.should_retry(resolved, verdict, attempt.number, since, now):
        return _finish(facts, verdict, now, attempt)
    ended = _ended_attempt(facts, attempt, verdict, now)
    following = retry.find_next_start(resolved, ended)
    text = f"attempt {attempt.number} failed ({verdict.reason}): {verdict.message}"
    found = compose(
        facts,
        conditions_of(facts, now),
        Phase.BACKING_OFF,
        f"{text}; the next one starts at {format_time(following)}",
        reason=verdict.reason,
        attempts=replaced(facts, ended),
        started_at=started_at,
        image_id=_image_id(facts),
    )
    found = part.with_windows(
        found, facts, said_of_windows(facts.pod, verdict.summary), verdict.reason
    )
    found = changed(found, **results(facts, verdict.summary))
    return replace(found, requeue_after=max(0.0, (following - now).total_seconds()))


def _between_attempts(facts: RunFacts, resolved: Resolved, last: Attempt, now: datetime) -> Plan:
    """Begin the next attempt when it is due, nothing of the last one lives, and there is a slot for
    it.
    """
    due = retry.find_next_start(resolved, last)
    if now < due:
        return slot.yield_slot(facts, now) or Plan(requeue_after=(due - now).total_seconds())
    if facts.pod is not None and not facts.pod.ended:
        return Plan(requeue_after=_LOOK_AGAIN)
    over = timeouts.find_end(facts.run, resolved)
    if over is not None and now >= over:
        message = (
            "spec.timeout was over before another attempt could begin; the last one: "
            f"{facts.status.message}"
        )
        return _finish(facts, Verdict(Reason.TIMEOUT, message), now)
    if not waiting.may_begin(facts):
        return _claim(facts, resolved.queue_timeout_seconds, now)
    return _next_attempt(facts, resolved, last, now)


def _next_attempt(facts: RunFacts, resolved: Resolved, last: Attempt, now: datetime) -> Plan:
    number = last.number + 1
    name = job_name(facts.identity.name, facts.identity.uid, number)
    attempt = Attempt(number=number, job_name=name, created_at=format_time(now))
    return compose(
        facts,
        conditions_of(facts, now),
        Phase.PENDING,
        f"attempt {number} of {resolved.retry.max_attempts if resolved.retry else number} is being "
        "started",
        reason=None,
        attempts=[*(facts.status.attempts or []), attempt],
        nodes=None,
        failures=None,
        artifacts=None,
    )


def _ended_attempt(facts: RunFacts, attempt: Attempt, verdict: Verdict, now: datetime) -> Attempt:
    """What is recorded of an attempt at its end."""
    return attempt.model_copy(
        update={
            "finished_at": (facts.pod.dbt.finished_at if facts.pod else "") or format_time(now),
            "exit_code": verdict.exit_code,
            "reason": verdict.reason,
            "message": verdict.message if verdict.reason else None,
        }
    )


# Cancelling, and giving up by hand


def _released(facts: RunFacts, attempt: Attempt, now: datetime) -> Plan:
    """Its slot was released by force: somebody has said that its pod will do no more. It is not
    tried again.
    """
    if facts.job is not None and _is_ours(facts) and not facts.job.deleting:
        return Plan(actions=(DeleteJob(attempt.job_name, facts.job.uid),))
    message = (
        f"the annotation {FORCE_RELEASE} of DbtTarget {facts.run.spec.target_ref.name} has "
        "released its slot"
    )
    return _finish(facts, Verdict(Reason.INFRASTRUCTURE, message), now)


def _is_ours(facts: RunFacts) -> bool:
    """Whether the Job belongs to this run."""
    return facts.job is not None and facts.job.owner_uid == facts.identity.uid


def _latch_cancel(facts: RunFacts, now: datetime) -> Plan:
    """Written before anything is stopped: that spec.cancel is set back to false changes nothing any
    more.
    """
    phase = facts.status.phase or Phase.PENDING
    conditions = conditions_of(facts, now)
    return compose(
        facts, conditions, phase, "being cancelled", cancel_requested_at=format_time(now)
    )


def _cancel(facts: RunFacts, now: datetime) -> Plan:
    """Stop what runs, and end the run when nothing does."""
    job = facts.job if _is_ours(facts) else None
    over = _over(facts) and not suspension.may_resume(facts)
    if (job is None and (facts.pod is None or facts.pod.ended)) or over:
        return _finish(facts, _cancelled(facts), now)
    actions: tuple[Action, ...] = ()
    if facts.pod is not None and facts.pod.dbt.started_at and not facts.pod.ended:
        # The pod only: its end is graceful, and the Job keeps what became of it.
        actions = () if facts.pod.deleting else (DeletePod(facts.pod.name, facts.pod.uid),)
    elif job is not None and facts.status.attempts:
        actions = (DeleteJob(facts.status.attempts[-1].job_name, job.uid),)
    return Plan(actions=actions, requeue_after=_LOOK_AGAIN)


def _cancelled(facts: RunFacts) -> Verdict:
    """A cancelled run is never a success, even if dbt was quicker."""
    attempts = facts.status.attempts or []
    if facts.pod is None or not facts.pod.dbt.ended:
        started = bool(attempts) and attempts[-1].started_at is not None
        return Verdict(
            Reason.CANCELLED, _REPORT_LOST if started else "cancelled before dbt had started"
        )
    found = judge(facts.pod, facts.job)
    said = found.summary.message if found.summary else "dbt left no result"
    return Verdict(Reason.CANCELLED, f"cancelled: {said}", found.exit_code, found.summary)


# The end


def _finish(
    facts: RunFacts,
    verdict: Verdict,
    now: datetime,
    attempt: Attempt | None = None,
    conditions: Conditions | None = None,
) -> Plan:
    promoted = promotion.find_promotion(facts, verdict, attempt)
    if promoted is not None and not facts.refusal:
        return Plan(
            actions=(promoted,)
        )  # before the end is told: whoever waits for that may compare with it
    attempts = facts.status.attempts
    ended_at = format_time(now)
    last = attempt or (attempts[-1] if attempts else None)
    if last is not None and last.finished_at is None:
        ended = _ended_attempt(facts, last, verdict, now)
        ended_at = ended.finished_at or ended_at
        attempts = replaced(facts, ended)
    started_at = facts.status.started_at or (attempts[-1].started_at if attempts else None)
    conditions = conditions or conditions_of(facts, now)
    set_end(conditions, facts, verdict)
    found = compose(
        facts,
        conditions,
        _END.get(verdict.reason, Phase.FAILED),
        verdict.message,
        reason=verdict.reason,
        attempts=attempts,
        started_at=started_at,
        finished_at=ended_at,
        duration=elapsed(started_at, ended_at),
        image_id=_image_id(facts),
    )
    if last is not None:
        found = part.with_windows(
            found, facts, said_of_windows(facts.pod, verdict.summary), verdict.reason
        )
    found = changed(found, **results(facts, verdict.summary))
    if promoted is None:
        return found
    # The run is what it is, and holds a slot: later ones compare with an older state, and build
    # more than they need.
    lost = Event(
        "Warning", "StateNotPromoted", f"its state did not become the current one: {facts.refusal}"
    )
    return replace(found, events=(*found.events, lost))
