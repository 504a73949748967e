"""Jobs that a queue such as Kueue suspends and resumes. The operator only watches that: it never
writes ``suspend``.

Before dbt has started, a suspended Job waits for its turn, and no time counts. After that,
suspending it ends the attempt: what dbt had done stays, and the Job is deleted, since a Job that is
resumed would start dbt once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from dbt_operator.api.kinds.run import Attempt
from dbt_operator.api.parts.resolved import Resolved
from dbt_operator.api.status import Reason
from dbt_operator.planning.attempt.pod_facts import AttemptFacts, JobFacts
from dbt_operator.planning.attempt.verdict import Verdict
from dbt_operator.planning.common.durations import parse_time
from dbt_operator.planning.common.names import QUEUE_LABEL


def say_waiting(resolved: Resolved) -> str:
    """What a run with a suspended Job waits for."""
    queue = (resolved.labels or {}).get(QUEUE_LABEL)
    return (
        f"waiting: the Job is suspended until the queue {queue} admits it"
        if queue
        else "waiting: the Job is suspended"
    )


def find_queue_deadline(
    resolved: Resolved, attempts: Sequence[Attempt], job: JobFacts
) -> datetime | None:
    """When a run whose Job is suspended has waited for as long as it may; None if it may wait for
    ever.
    """
    limit = resolved.queue_timeout_seconds
    if limit is None:
        return None
    waited = sum(attempt.queued_seconds or 0 for attempt in attempts[:-1])
    return (job.created_at or parse_time(attempts[-1].created_at)) + timedelta(
        seconds=limit - waited
    )


def queued_seconds(job: JobFacts | None) -> int | None:
    """How long a Job that has been resumed was suspended; None if it was not, or still is."""
    if job is None or job.suspended or job.started_at is None or job.created_at is None:
        return None
    return round((job.started_at - job.created_at).total_seconds()) or None


def find_start(job: JobFacts | None) -> datetime | None:
    """Since when a Job may have a pod."""
    return (job.started_at or job.created_at) if job else None


def without_preempted_pod(attempt: AttemptFacts) -> AttemptFacts:
    """The same without a pod that was taken away before it had started dbt: the Job makes another
    one in its turn.
    """
    job, pod = attempt.job, attempt.pod
    if (
        job is None
        or job.ended
        or pod is None
        or pod.dbt.started_at
        or not (pod.ended or pod.deleting)
    ):
        return attempt
    resumed = (
        job.started_at is not None
        and pod.created_at is not None
        and pod.created_at < job.started_at
    )
    return replace(attempt, pod=None) if job.suspended or resumed else attempt


def may_resume(attempt: AttemptFacts) -> bool:
    """Whether the Job could start another pod, although this attempt's has ended."""
    return attempt.job is not None and attempt.job.suspended and not attempt.job.ended


def explain_verdict(verdict: Verdict, attempt: AttemptFacts) -> Verdict:
    """The verdict on an attempt, where a suspension explains what its containers saw."""
    if not may_resume(attempt) or verdict.reason not in (Reason.UNKNOWN, Reason.INFRASTRUCTURE):
        return verdict
    message = "the Job was suspended while dbt was running, as queues do to make room for others"
    return replace(verdict, reason=Reason.INFRASTRUCTURE, message=message)
