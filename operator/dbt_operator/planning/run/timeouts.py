"""How long a run may take from its first pod on. Of one with windows, each window may take that
long, and the pod sees to it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from dbt_operator.api.kinds.run import Attempt, DbtRun, DbtRunStatus
from dbt_operator.api.parts.resolved import Resolved
from dbt_operator.planning.common.durations import parse_time


def find_seconds_left(run: DbtRun, resolved: Resolved, attempt: Attempt) -> float | None:
    """The seconds that an attempt has when it begins; from status, so it is always the same. None:
    no other limit than ``resolved`` says.
    """
    if run.spec.windows:
        return None
    status = run.status or DbtRunStatus()
    limits: list[float] = []
    if resolved.timeout_seconds is not None and status.started_at is not None:
        spent = parse_time(attempt.created_at) - parse_time(status.started_at)
        limits.append(resolved.timeout_seconds - spent.total_seconds())
    elif resolved.timeout_seconds is not None:
        limits.append(resolved.timeout_seconds)
    if resolved.retry and resolved.retry.attempt_timeout_seconds is not None:
        limits.append(resolved.retry.attempt_timeout_seconds)
    return min(limits, default=None)


def find_end(run: DbtRun, resolved: Resolved) -> datetime | None:
    """When spec.timeout is over, once dbt has started; None if it never is."""
    status = run.status or DbtRunStatus()
    if run.spec.windows or resolved.timeout_seconds is None or status.started_at is None:
        return None
    return parse_time(status.started_at) + timedelta(seconds=resolved.timeout_seconds)
