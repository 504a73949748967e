"""How the Job of an attempt is created, and whether one that is there is it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from dbt_operator.api.kinds.run import Attempt
from dbt_operator.api.parts.resolved import Resolved
from dbt_operator.api.status import Phase, Reason
from dbt_operator.planning.attempt import job as job_builder
from dbt_operator.planning.attempt.pod_facts import JobFacts
from dbt_operator.planning.attempt.quotas import explain_quota
from dbt_operator.planning.attempt.verdict import Verdict, judge
from dbt_operator.planning.common.compose import conditions_of
from dbt_operator.planning.common.durations import duration, parse_time
from dbt_operator.planning.common.plan import LOOK_AGAIN, CreateJob, Plan
from dbt_operator.planning.run import part, timeouts
from dbt_operator.planning.run.facts import RunFacts
from dbt_operator.planning.run.next_attempt import end_attempt
from dbt_operator.planning.run.status import compose


def create_job(facts: RunFacts, resolved: Resolved, attempt: Attempt, now: datetime) -> Plan:
    """Create the Job of an attempt. One that was there and is gone is not made a second time: its
    attempt is over.
    """
    if attempt.job_uid is not None:
        return end_attempt(facts, judge(None, None), now, attempt)
    if facts.refusal:
        return _wait_for_permission(facts, resolved, attempt, now)
    spec = facts.run.spec
    work = job_builder.Work(spec.project_ref.name, spec.target_ref.name, attempt.number)
    told = _tell_attempt(facts, resolved, attempt)
    return Plan(actions=(CreateJob(job_builder.build(resolved, facts.identity, work, told)),))


def _tell_attempt(facts: RunFacts, resolved: Resolved, attempt: Attempt) -> job_builder.Told:
    spec = facts.run.spec
    left = timeouts.find_seconds_left(facts.run, resolved, attempt)
    commit = facts.status.commit or ""
    windows = part.windows_of(spec.windows)
    states = facts.status.windows.states if facts.status.windows else ""
    return job_builder.Told(
        left, commit, windows, states, stop_on_failure=spec.stop_on_failure is not False
    )


def has_other_job(facts: RunFacts, resolved: Resolved, attempt: Attempt) -> bool:
    """Whether the Job that has the name of the attempt's is somebody else's, or is of this run and
    not the one that the attempt is to have.
    """
    return facts.attempt.job is not None and (
        facts.own_job is None or not _is_as_made(facts, facts.own_job, resolved, attempt)
    )


def _is_as_made(facts: RunFacts, job: JobFacts, resolved: Resolved, attempt: Attempt) -> bool:
    """Whether a Job of this run is the one that the attempt is to have. Once its UID stands in
    status it is.
    """
    if attempt.job_uid is not None or job.plan is None:
        return True
    told = _tell_attempt(facts, resolved, attempt)
    return job_builder.is_of_attempt(
        job.plan, job_builder.run_plan(resolved, facts.identity, attempt.number, told)
    )


def _wait_for_permission(
    facts: RunFacts, resolved: Resolved, attempt: Attempt, now: datetime
) -> Plan:
    """A quota or a policy may give way; it gets the time that a pod has to start. Where it does
    not, the attempt is over: there is no Job, and none is asked for any more.
    """
    quota = explain_quota(facts.refusal)
    message = f"the Job cannot be created: {quota or facts.refusal}"
    deadline = parse_time(attempt.created_at) + timedelta(seconds=resolved.start_timeout_seconds)
    if now >= deadline:
        reason = Reason.UNSCHEDULABLE if quota else Reason.CONFIG_ERROR
        limit = duration(resolved.start_timeout_seconds)
        verdict = Verdict(reason, f"{message} (startTimeout {limit})")
        return end_attempt(facts, verdict, now, attempt)
    found = compose(facts, conditions_of(facts, now), Phase.PENDING, f"waiting: {message}")
    return replace(found, requeue_after=LOOK_AGAIN)


def describe_conflict(attempt: Attempt) -> Verdict:
    """The verdict on a run whose Job would have the name of another one."""
    message = (
        f"a Job {attempt.job_name} exists that is not this run's: delete it, and start a new DbtRun"
    )
    return Verdict(Reason.NAME_CONFLICT, message)
