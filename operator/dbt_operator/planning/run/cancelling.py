"""How a run is cancelled."""

from __future__ import annotations

from datetime import datetime

from dbt_operator.api.status import Phase, Reason
from dbt_operator.planning.attempt.verdict import Verdict, judge
from dbt_operator.planning.common.compose import conditions_of
from dbt_operator.planning.common.durations import format_time
from dbt_operator.planning.common.plan import LOOK_AGAIN, Action, DeleteJob, DeletePod, Plan
from dbt_operator.planning.run import suspension
from dbt_operator.planning.run.ending import finish
from dbt_operator.planning.run.facts import RunFacts
from dbt_operator.planning.run.status import compose

_REPORT_LOST = (
    "cancelled; the pod is gone, and with it what it reported: what it finished is told by the "
    "artifacts"
)


def latch_cancel(facts: RunFacts, now: datetime) -> Plan:
    """Written before anything is stopped: that spec.cancel is set back to false changes nothing any
    more.
    """
    phase = facts.status.phase or Phase.PENDING
    is_replaced = facts.record is not None and facts.record.replaced and not facts.run.spec.cancel
    why = "being replaced: a later occurrence is to begin" if is_replaced else "being cancelled"
    reason = {"reason": Reason.REPLACED} if is_replaced else {}
    return compose(
        facts,
        conditions_of(facts, now),
        phase,
        why,
        cancel_requested_at=format_time(now),
        **reason,
    )


def cancel(facts: RunFacts, now: datetime) -> Plan:
    """Stop what runs, and end the run when nothing does."""
    job, pod = facts.own_job, facts.attempt.pod
    over = facts.attempt.over and not suspension.may_resume(facts.attempt)
    if (job is None and (pod is None or pod.ended)) or over:
        return finish(facts, _judge_cancelled(facts), now)
    actions: tuple[Action, ...] = ()
    if pod is not None and pod.dbt.started_at and not pod.ended:
        # The pod only: its end is graceful, and the Job keeps what became of it.
        actions = () if pod.deleting else (DeletePod(pod.name, pod.uid),)
    elif job is not None and facts.status.attempts:
        actions = (DeleteJob(facts.status.attempts[-1].job_name, job.uid),)
    return Plan(actions=actions, requeue_after=LOOK_AGAIN)


def _judge_cancelled(facts: RunFacts) -> Verdict:
    """A cancelled run is never a success, even if dbt was quicker."""
    attempts = facts.status.attempts or []
    pod = facts.attempt.pod
    replaced = facts.status.reason is Reason.REPLACED
    reason = Reason.REPLACED if replaced else Reason.CANCELLED
    if pod is None or not pod.dbt.ended:
        started = bool(attempts) and attempts[-1].started_at is not None
        return Verdict(reason, _REPORT_LOST if started else "cancelled before dbt had started")
    found = judge(pod, facts.attempt.job)
    said = found.summary.message if found.summary else "dbt left no result"
    return Verdict(reason, f"cancelled: {said}", found.exit_code, found.summary)
