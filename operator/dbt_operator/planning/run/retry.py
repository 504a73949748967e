"""Which failed attempts are followed by another one, and after how long."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from dbt_operator.api.kinds.run import Attempt
from dbt_operator.api.parts.resolved import Resolved, ResolvedRetry
from dbt_operator.api.parts.retry import Backoff, Retry
from dbt_operator.api.status import Reason
from dbt_operator.planning.attempt.verdict import Verdict
from dbt_operator.planning.common.durations import parse_time, seconds

_INITIAL, _FACTOR, _MAX = "30s", 2, "10m"
_MAY_PASS = (Reason.UNAVAILABLE, Reason.INFRASTRUCTURE, Reason.SOURCE_ERROR, Reason.DEPS_FAILED)
# Messages of warehouses about what may be over in a minute. Syntax, missing columns and the like
# never match.
_TRANSIENT = re.compile(
    r"connection|could not connect|server closed|deadlock|lock timeout"
    r"|terminat\w{1,20} .{0,200}administrator|obtain lock"
    r"|could not serialize|concurrent update|timed? ?out|too many|rate limit|quota exceeded"
    r"|capacity|throttl"
    r"|temporar\w{1,20} (unavailable|failure)|service unavailable|internal error"
    r"|\b50[0234]\b|try again",
    re.IGNORECASE,
)


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
    """How long to wait after so many failed attempts."""
    return timedelta(
        seconds=min(retry.initial_seconds * retry.factor ** (failed - 1), retry.max_seconds)
    )


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
    resolved: Resolved, verdict: Verdict, attempts: int, started_at: str | None, now: datetime
) -> bool:
    """Whether another attempt follows on this one. None follows that could not start before
    spec.timeout is over.
    """
    retry = resolved.retry
    if (
        retry is None
        or verdict.reason in (None, Reason.NOT_FRESH)
        or attempts >= count_allowed(resolved)
    ):
        return False
    if resolved.timeout_seconds is not None and started_at is not None:
        over = parse_time(started_at) + timedelta(seconds=resolved.timeout_seconds)
        if now + wait(retry, attempts) >= over:
            return False
    return verdict.reason in retry.reasons if retry.reasons is not None else may_pass(verdict)


def may_pass(verdict: Verdict) -> bool:
    """Whether what went wrong may be over by itself. Failures that nobody can see do not count as
    such.
    """
    if verdict.reason in _MAY_PASS:
        return True
    if verdict.reason is not Reason.MODEL_ERROR or verdict.summary is None:
        return False
    summary = verdict.summary
    if summary.failures_total > len(summary.failures):
        return False
    causes = [failure for failure in summary.failures if failure.status != "skipped"]
    return bool(causes) and all(_TRANSIENT.search(failure.message) for failure in causes)
