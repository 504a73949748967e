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
from datetime import datetime

from dbt_operator.api.kinds.run import Attempt
from dbt_operator.api.parts.resolved import Resolved
from dbt_operator.api.status import Phase
from dbt_operator.planning.common.compose import see_edit
from dbt_operator.planning.common.plan import MarkJob, Plan, fitted
from dbt_operator.planning.common.strays import Stray, delete_stray_job, delete_strays
from dbt_operator.planning.run import expiry
from dbt_operator.planning.run.beginning import admit
from dbt_operator.planning.run.cancelling import cancel, latch_cancel
from dbt_operator.planning.run.creation import create_job, describe_conflict, has_other_job
from dbt_operator.planning.run.ending import finish
from dbt_operator.planning.run.facts import RunFacts
from dbt_operator.planning.run.following import follow_attempt
from dbt_operator.planning.run.giving_up import end_released, give_up
from dbt_operator.planning.run.next_attempt import wait_between_attempts
from dbt_operator.planning.run.outliving import end_pods


def plan(facts: RunFacts, now: datetime) -> Plan:
    """Decide what to do next about a run.

    Raises:
        ValidationError: the status that was put together is none.
    """
    return fitted(_plan(facts, now))


def _plan(facts: RunFacts, now: datetime) -> Plan:
    status = facts.status
    if status.phase and status.phase.finished:
        left = delete_strays(facts.strays, delete_stray_job) or end_pods(facts.outliving)
        return see_edit(facts, left or _tidy(facts, now))
    if (facts.run.spec.cancel or _told_to_end(facts)) and status.cancel_requested_at is None:
        return latch_cancel(facts, now)
    if status.cancel_requested_at is not None:
        return cancel(facts, now)
    if status.resolved is None or not status.attempts:
        return admit(facts, now)
    return _go_on(facts, status.resolved, status.attempts[-1], now)


def _tidy(facts: RunFacts, now: datetime) -> Plan:
    """What there is left to do about a run of which nothing lives."""
    marks = tuple(MarkJob(job.name, job.uid) for job in facts.unmarked)
    left = expiry.plan(facts, now)
    return replace(left, actions=(*marks, *left.actions))


def _go_on(facts: RunFacts, resolved: Resolved, attempt: Attempt, now: datetime) -> Plan:
    """A run that has begun."""
    if facts.slot.released:
        return end_released(facts, attempt, now)
    if facts.status.phase in (Phase.BACKING_OFF, Phase.QUEUED):
        return wait_between_attempts(facts, resolved, attempt, now)
    if attempt.job_uid and facts.own_job is not None and facts.own_job.uid != attempt.job_uid:
        stray = Stray(attempt.job_name, facts.own_job.uid)
        return delete_strays([stray], delete_stray_job) or Plan()
    if attempt.reason is not None:
        return give_up(facts, attempt, now)
    if has_other_job(facts, resolved, attempt):
        return finish(facts, describe_conflict(attempt), now)
    if facts.attempt.job is None and facts.attempt.pod is None:
        return create_job(facts, resolved, attempt, now)
    return follow_attempt(facts, resolved, attempt, now)


def _told_to_end(facts: RunFacts) -> bool:
    """Whether the backfill or schedule that the run is of wants it to end at once."""
    by_backfill = facts.orders is not None and facts.orders.stop == "Now"
    return by_backfill or (facts.record is not None and facts.record.replaced)
