"""What is done while there is a Job or a pod of an attempt: wait for its start and for its end."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from dbt_operator.api.kinds.run import Attempt
from dbt_operator.api.parts.resolved import Resolved
from dbt_operator.api.status import Phase, Reason
from dbt_operator.planning.attempt.pod_facts import AttemptFacts, JobFacts
from dbt_operator.planning.attempt.verdict import Verdict, stuck
from dbt_operator.planning.common.compose import conditions_of
from dbt_operator.planning.common.durations import duration, parse_time
from dbt_operator.planning.common.plan import LOOK_AGAIN, DeletePod, Plan
from dbt_operator.planning.run import part, slot, suspension
from dbt_operator.planning.run.ending import find_image_id, judge_attempt
from dbt_operator.planning.run.facts import RunFacts
from dbt_operator.planning.run.giving_up import decide_to_give_up
from dbt_operator.planning.run.next_attempt import end_attempt
from dbt_operator.planning.run.outliving import find_upload_deadline
from dbt_operator.planning.run.progress import can_be_seen, longest, looks, shown
from dbt_operator.planning.run.status import compose, replaced


def follow_attempt(facts: RunFacts, resolved: Resolved, attempt: Attempt, now: datetime) -> Plan:
    """A Job or a pod is there: wait for its end, and see that its start takes no longer than it
    may.
    """
    facts = replace(facts, attempt=suspension.without_preempted_pod(facts.attempt))
    attempt = _look_at_attempt(facts.attempt, attempt)
    if facts.attempt.over:
        verdict = suspension.explain_verdict(judge_attempt(facts), facts.attempt)
        if verdict.reason is not None and suspension.may_resume(facts.attempt):
            return decide_to_give_up(facts, attempt, verdict, verdict.message, now)
        return end_attempt(facts, verdict, now, attempt)
    pod, upload_deadline = facts.attempt.pod, find_upload_deadline(facts.attempt.pod)
    if pod is not None and upload_deadline is not None and now >= upload_deadline:
        return Plan(actions=(DeletePod(pod.name, pod.uid),), requeue_after=LOOK_AGAIN)
    if (order := part.pass_on_stop(facts)) is not None:
        return order
    if attempt.started_at is not None:
        return _say_running(facts, attempt, attempt.started_at, now)
    return _await_start(facts, resolved, attempt, now)


def _say_running(facts: RunFacts, attempt: Attempt, started_at: str, now: datetime) -> Plan:
    progress = facts.attempt.progress
    found = compose(
        facts,
        conditions_of(facts, now),
        Phase.RUNNING,
        "dbt is running",
        attempts=replaced(facts, attempt),
        started_at=facts.status.started_at or started_at,
        image_id=find_image_id(facts),
        reason=None,
        **shown(progress),
    )
    found = part.with_windows(found, facts, progress.windows if progress else "")
    if (upload_deadline := find_upload_deadline(facts.attempt.pod)) is not None:
        return replace(found, requeue_after=max(0.0, (upload_deadline - now).total_seconds()))
    if not can_be_seen(facts.status, facts.attempt.pod):
        return found
    _, wait = looks((now - parse_time(started_at)).total_seconds(), longest(facts.run))
    return replace(found, requeue_after=wait)


def _look_at_attempt(seen: AttemptFacts, attempt: Attempt) -> Attempt:
    """The attempt with what can be seen of it now."""
    started_at = (seen.pod.dbt.started_at if seen.pod else "") or attempt.started_at
    job_uid = seen.job.uid if seen.job else attempt.job_uid
    queued = suspension.queued_seconds(seen.job) or attempt.queued_seconds
    return attempt.model_copy(
        update={"started_at": started_at, "job_uid": job_uid, "queued_seconds": queued}
    )


def _await_start(facts: RunFacts, resolved: Resolved, attempt: Attempt, now: datetime) -> Plan:
    seen = facts.attempt
    if seen.job is not None and seen.job.suspended:
        return _await_turn(facts, seen.job, resolved, attempt, now)
    if (gate := slot.open_gate(facts, now)) is not None:
        return gate
    since = suspension.find_start(seen.job) or parse_time(attempt.created_at)
    if facts.slot.since:  # later than the Job only where the target was created anew
        since = max(since, parse_time(facts.slot.since))
    deadline = since + timedelta(seconds=resolved.start_timeout_seconds)
    held_up = _find_obstacle(seen)
    if now >= deadline:
        why = held_up or stuck(seen.pod, seen.warnings)
        limit = duration(resolved.start_timeout_seconds)
        return decide_to_give_up(facts, attempt, why, f"{why.message} (startTimeout {limit})", now)
    message = f"waiting: {held_up.message}" if held_up else "the pod is being started"
    found = compose(
        facts,
        conditions_of(facts, now),
        Phase.PENDING,
        message,
        attempts=replaced(facts, attempt),
        reason=None,
    )
    return replace(found, requeue_after=min(LOOK_AGAIN, (deadline - now).total_seconds()))


def _await_turn(
    facts: RunFacts, job: JobFacts, resolved: Resolved, attempt: Attempt, now: datetime
) -> Plan:
    """The Job waits for its turn, for as long as it may."""
    message = suspension.say_waiting(resolved)
    due = suspension.find_queue_deadline(resolved, replaced(facts, attempt), job)
    if due is not None and now >= due:
        why = Verdict(Reason.QUEUE_TIMEOUT, f"{message}, for longer than queueTimeout allows")
        return decide_to_give_up(facts, attempt, why, why.message, now)
    conditions = conditions_of(facts, now)
    found = compose(
        facts, conditions, Phase.PENDING, message, attempts=replaced(facts, attempt), reason=None
    )
    return replace(found, requeue_after=(due - now).total_seconds() if due else None)


def _find_obstacle(seen: AttemptFacts) -> Verdict | None:
    """What keeps the pod from starting, where something says so already."""
    why = stuck(seen.pod, seen.warnings)
    told = seen.warnings or (seen.pod is not None and why.reason is not Reason.INFRASTRUCTURE)
    return why if told else None
