"""The end of a run: how its last attempt is judged, and what is written of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dbt_operator.api.kinds.run import Attempt
from dbt_operator.api.status import Phase, Reason
from dbt_operator.planning.attempt.pod_facts import PodFacts
from dbt_operator.planning.attempt.verdict import Verdict, judge
from dbt_operator.planning.common import image_ids
from dbt_operator.planning.common.compose import changed, conditions_of, elapsed
from dbt_operator.planning.common.conditions import Conditions
from dbt_operator.planning.common.durations import format_time
from dbt_operator.planning.common.plan import Event, Plan
from dbt_operator.planning.notifying.telling import tell_end
from dbt_operator.planning.run import part, promotion
from dbt_operator.planning.run.facts import RunFacts
from dbt_operator.planning.run.status import (
    compose,
    not_uploaded,
    replaced,
    results,
    said_of_windows,
    set_end,
)

# Every other reason: Failed.
_END = {
    None: Phase.SUCCEEDED,
    Reason.CANCELLED: Phase.CANCELLED,
    Reason.YIELDED: Phase.CANCELLED,
    Reason.REPLACED: Phase.CANCELLED,
    Reason.NOT_FRESH: Phase.SKIPPED,
    Reason.NOT_ARRIVED: Phase.SKIPPED,
}


def judge_attempt(facts: RunFacts) -> Verdict:
    """How the attempt ended; one that ran another image than the attempts before it proves
    nothing.
    """
    pod = facts.attempt.pod
    if moved := _find_moved_tag(facts, pod):
        return Verdict(Reason.CONFIG_ERROR, moved)
    found = judge(pod, facts.attempt.job)
    found = part.check_windows(found, facts, said_of_windows(pod, found.summary))
    resolved, missing = facts.status.resolved, not_uploaded(pod)
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


def _find_moved_tag(facts: RunFacts, pod: PodFacts | None) -> str:
    """Says that a pod ran another image than the run's first one; empty if it did not."""
    first, ran = facts.status.image_id, pod.dbt.image_id if pod else ""
    resolved = facts.status.resolved
    if not ran or not first or (resolved is not None and image_ids.is_pinned(resolved.image)):
        return ""
    if not image_ids.are_different(first, ran):
        return ""
    return f"the tag was moved since the first pod, from {first} to {ran}: pin the image by digest"


def find_image_id(facts: RunFacts) -> str | None:
    """Which image runs; that of the first attempt stands. None as long as no pod has told."""
    pod = facts.attempt.pod
    return facts.status.image_id or (pod.dbt.image_id if pod else None) or None


def record_end(attempt: Attempt, pod: PodFacts | None, verdict: Verdict, now: datetime) -> Attempt:
    """What is recorded of an attempt at its end."""
    return attempt.model_copy(
        update={
            "finished_at": (pod.dbt.finished_at if pod else "") or format_time(now),
            "exit_code": verdict.exit_code,
            "reason": verdict.reason,
            "message": verdict.message if verdict.reason else None,
        }
    )


def finish(
    facts: RunFacts,
    verdict: Verdict,
    now: datetime,
    attempt: Attempt | None = None,
    conditions: Conditions | None = None,
) -> Plan:
    """End the run.

    Args:
        facts: the run.
        verdict: on its last attempt, or on the run where it never had one.
        now: the time.
        attempt: the last attempt with what is known of it now; None: as it stands in status.
        conditions: those of the run, where some of them have changed already.
    """
    promoted = promotion.find_promotion(facts, verdict, attempt)
    if promoted is not None and not facts.refusal:
        # Before the end is told: whoever waits for that may compare with it.
        return Plan(actions=(promoted,))
    attempts = facts.status.attempts
    ended_at = format_time(now)
    last = attempt or (attempts[-1] if attempts else None)
    if last is not None and last.finished_at is None:
        ended = record_end(last, facts.attempt.pod, verdict, now)
        ended_at = ended.finished_at or ended_at
        attempts = replaced(facts, ended)
        last = ended
    withdrawn = promotion.find_withdrawal(facts, last)
    if withdrawn is not None and not facts.refusal:
        return Plan(actions=(withdrawn,))
    started_at = facts.status.started_at or (attempts[-1].started_at if attempts else None)
    conditions = conditions or conditions_of(facts, now)
    set_end(conditions, facts.attempt.pod, verdict)
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
        image_id=find_image_id(facts),
    )
    if last is not None:
        found = part.with_windows(
            found, facts, said_of_windows(facts.attempt.pod, verdict.summary), verdict.reason
        )
    found = changed(found, **results(facts.attempt, verdict.summary))
    if facts.orders is None:  # else its backfill tells of all its runs
        found = tell_end(found, facts.identity, facts.listeners, facts.record, now)
    if facts.attempt.pod is not None and facts.attempt.pod.outlives_work:
        found = replace(found, requeue_after=0.0)  # to have it end, now that this is written
    if promoted is None:
        return found
    # The run is what it is, and holds a slot: later ones compare with an older state, and build
    # more than they need.
    lost = Event(
        "Warning", "StateNotPromoted", f"its state did not become the current one: {facts.refusal}"
    )
    return replace(found, events=(*found.events, lost))
