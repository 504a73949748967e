"""What follows on the end of an attempt: another one after a while, or the end of the run."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dbt_operator.api.kinds.run import Attempt
from dbt_operator.api.parts.resolved import Resolved
from dbt_operator.api.status import Phase, Reason
from dbt_operator.planning.attempt.verdict import Verdict
from dbt_operator.planning.common.compose import changed, conditions_of
from dbt_operator.planning.common.durations import format_time
from dbt_operator.planning.common.plan import LOOK_AGAIN, Plan
from dbt_operator.planning.queueing import waiting
from dbt_operator.planning.run import part, promotion, retry, slot, timeouts
from dbt_operator.planning.run.ending import find_image_id, finish, record_end
from dbt_operator.planning.run.facts import RunFacts
from dbt_operator.planning.run.outliving import end_pods
from dbt_operator.planning.run.status import (
    compose,
    make_attempt,
    replaced,
    results,
    said_of_windows,
)


def end_attempt(facts: RunFacts, verdict: Verdict, now: datetime, attempt: Attempt) -> Plan:
    """An attempt is over, and nothing of it works: the run is over too, or backs off."""
    resolved = facts.status.resolved
    started_at = facts.status.started_at or attempt.started_at
    since = None if facts.run.spec.windows else started_at  # timeout is that of a window
    attempts = [*(facts.status.attempts or [])[: attempt.number - 1], attempt]
    if resolved is None or not retry.should_retry(resolved, verdict, attempts, since, now):
        return finish(facts, verdict, now, attempt)
    ended = record_end(attempt, facts.attempt.pod, verdict, now)
    withdrawn = promotion.find_withdrawal(facts, ended)
    if withdrawn is not None and not facts.refusal:
        return Plan(actions=(withdrawn,))  # others may run before the next attempt
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
        image_id=find_image_id(facts),
    )
    found = part.with_windows(
        found, facts, said_of_windows(facts.attempt.pod, verdict.summary), verdict.reason
    )
    found = changed(found, **results(facts.attempt, verdict.summary))
    lives_on = facts.attempt.pod is not None and facts.attempt.pod.outlives_work
    wait = 0.0 if lives_on else max(0.0, (following - now).total_seconds())
    return replace(found, requeue_after=wait)


def wait_between_attempts(
    facts: RunFacts, resolved: Resolved, last: Attempt, now: datetime
) -> Plan:
    """Begin the next attempt when it is due, nothing of the last one lives, and there is a slot for
    it.
    """
    pod = facts.attempt.pod
    if pod is not None and (ending := end_pods([pod])) is not None:
        return ending
    due = retry.find_next_start(resolved, last)
    if now < due:
        return slot.yield_slot(facts, now) or Plan(requeue_after=(due - now).total_seconds())
    if pod is not None and not pod.ended:
        return Plan(requeue_after=LOOK_AGAIN)
    over = timeouts.find_end(facts.run, resolved)
    if over is not None and now >= over:
        message = (
            "spec.timeout was over before another attempt could begin; the last one: "
            f"{facts.status.message}"
        )
        return finish(facts, Verdict(Reason.TIMEOUT, message), now)
    if not waiting.may_begin(facts):
        return slot.claim_slot(facts, resolved.queue_timeout_seconds, now)
    return _begin_next(facts, resolved, last, now)


def _begin_next(facts: RunFacts, resolved: Resolved, last: Attempt, now: datetime) -> Plan:
    number = last.number + 1
    return compose(
        facts,
        conditions_of(facts, now),
        Phase.PENDING,
        f"attempt {number} of {retry.count_allowed(resolved)} is being started",
        reason=None,
        attempts=[*(facts.status.attempts or []), make_attempt(facts.identity, number, now)],
        nodes=None,
        failures=None,
        details=None,
        artifacts=None,
    )
