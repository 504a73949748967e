"""How an attempt is given up whose pod does not start, whose Job was suspended, or whose slot was
taken away by hand.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dbt_operator.api.kinds.run import Attempt
from dbt_operator.api.status import Phase, Reason
from dbt_operator.planning.attempt.verdict import Verdict, judge
from dbt_operator.planning.common.compose import changed, conditions_of
from dbt_operator.planning.common.plan import LOOK_AGAIN, Action, DeleteJob, Plan
from dbt_operator.planning.queueing import waiting
from dbt_operator.planning.run.ending import finish
from dbt_operator.planning.run.facts import RunFacts
from dbt_operator.planning.run.next_attempt import end_attempt
from dbt_operator.planning.run.status import compose, replaced


def decide_to_give_up(
    facts: RunFacts, attempt: Attempt, why: Verdict, message: str, now: datetime
) -> Plan:
    """Record that the attempt is given up, before its Job is deleted."""
    attempt = attempt.model_copy(update={"reason": why.reason, "message": message})
    phase = Phase.RUNNING if attempt.started_at else Phase.PENDING
    found = compose(facts, conditions_of(facts, now), phase, f"giving up: {why.message}")
    return changed(found, attempts=replaced(facts, attempt))


def give_up(facts: RunFacts, attempt: Attempt, now: datetime) -> Plan:
    """The pod did not start in time, or the Job was suspended. The attempt ends only when both are
    gone, as they could start while nobody looks; or when the pod has ended and the Job, which makes
    no other one by then, stays because a finalizer keeps the pod.
    """
    job, pod = facts.own_job, facts.attempt.pod
    is_kept = job is not None and job.deleting and pod is not None and pod.ended
    actions: tuple[Action, ...] = ()
    if job is not None and not is_kept:
        actions = (DeleteJob(attempt.job_name, job.uid),)
    if actions or (pod is not None and not pod.ended):
        return Plan(actions=actions, requeue_after=LOOK_AGAIN)
    left = judge(facts.attempt.pod, facts.attempt.job)
    verdict = replace(left, reason=attempt.reason, message=attempt.message or "")
    return end_attempt(facts, verdict, now, attempt)


def end_released(facts: RunFacts, attempt: Attempt, now: datetime) -> Plan:
    """Its slot was released by force: somebody has said that its pod will do no more. It is not
    tried again.
    """
    if facts.own_job is not None and not facts.own_job.deleting:
        return Plan(actions=(DeleteJob(attempt.job_name, facts.own_job.uid),))
    message = waiting.say_released(facts.run.spec.target_ref.name)
    return finish(facts, Verdict(Reason.INFRASTRUCTURE, message), now)
