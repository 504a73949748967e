"""Which failed attempts are followed by another one, and after how long."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from dbt_operator.api.kinds.run import Attempt
from dbt_operator.api.parts.resolved import Resolved, ResolvedRetry
from dbt_operator.api.parts.retry import Backoff, Retry
from dbt_operator.api.status import Reason
from dbt_operator.planning.attempt.verdict import Verdict
from dbt_operator.planning.common.durations import parse_time, seconds

_INITIAL, _FACTOR, _MAX = "30s", 2, "10m"
_MOST_GROWTHS = 10  # of a wait; there are no more attempts
_MAY_PASS = (Reason.UNAVAILABLE, Reason.INFRASTRUCTURE, Reason.SOURCE_ERROR, Reason.DEPS_FAILED)
# Of these the runner says whether they may, by what the warehouse or the Git server has said.
_MAY_BE_SAID = (Reason.UNAVAILABLE, Reason.MODEL_ERROR, Reason.SOURCE_ERROR)


def resolve(retry: Retry) -> ResolvedRetry:
    """Put in the defaults."""
    backoff = retry.backoff or Backoff()
    return ResolvedRetry(
        max_attempts=retry.max_attempts,
        attempt_timeout_seconds=seconds(retry.attempt_timeout) if retry.attempt_timeout else None,
        resume=retry.resume != "Everything",
        initial_seconds=seconds(backoff.initial or _INITIAL),
        factor=backoff.factor or _FACTOR,
        max_seconds=seconds(backoff.max or _MAX),
        reasons=retry.reasons,
    )


def wait(retry: ResolvedRetry, failed: int) -> timedelta:
    """How long to wait after so many failed attempts, of which a status may tell any number."""
    growth = retry.factor ** min(max(0, failed - 1), _MOST_GROWTHS)
    return timedelta(seconds=min(retry.initial_seconds * growth, retry.max_seconds))


def find_next_start(resolved: Resolved, last: Attempt) -> datetime:
    """When the attempt after this one starts: by what is recorded, so it is the same after a
    restart.
    """
    pause = wait(resolved.retry, last.number) if resolved.retry else timedelta()
    return parse_time(last.finished_at or last.created_at) + pause


def count_allowed(resolved: Resolved) -> int:
    """How many attempts there may be."""
    return resolved.retry.max_attempts if resolved.retry else 1


def should_retry(
    resolved: Resolved,
    verdict: Verdict,
    attempts: Sequence[Attempt],
    started_at: str | None,
    now: datetime,
) -> bool:
    """Whether another attempt follows on these, the last of which has just ended in this verdict.
    None follows that could not start before spec.timeout is over.
    """
    retry = resolved.retry
    if (
        retry is None
        or verdict.reason in (None, Reason.NOT_FRESH)
        or len(attempts) >= count_allowed(resolved)
    ):
        return False
    if resolved.timeout_seconds is not None and started_at is not None:
        over = parse_time(started_at) + timedelta(seconds=resolved.timeout_seconds)
        if now + wait(retry, len(attempts)) >= over:
            return False
    if retry.reasons is not None:
        return verdict.reason in retry.reasons
    before = attempts[-2].reason if len(attempts) > 1 else None
    return may_pass(verdict, before)


def may_pass(verdict: Verdict, before: Reason | None = None) -> bool:
    """Whether what went wrong may be over by itself.

    Args:
        verdict: on the attempt.
        before: the reason of the attempt before it. What is to be tried once more has been then.
    """
    if verdict.reason in _MAY_BE_SAID and verdict.summary and verdict.summary.again:
        again = verdict.summary.again
        return again == "Yes" or (again == "Once" and before is not verdict.reason)
    return verdict.reason in _MAY_PASS
