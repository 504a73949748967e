"""How a run begins: what it waits for has come, what it refers to is there, nothing speaks against
it, it has a slot, and its first attempt is written down.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dbt_operator.api.kinds.run import DbtRun
from dbt_operator.api.status import ConditionType, Phase, Reason
from dbt_operator.planning.attempt import sizes
from dbt_operator.planning.attempt.verdict import Verdict
from dbt_operator.planning.common.compose import conditions_of
from dbt_operator.planning.common.durations import seconds
from dbt_operator.planning.common.plan import Plan
from dbt_operator.planning.common.references import (
    Referred,
    find_missing,
    find_remedy,
    reason_of_missing,
)
from dbt_operator.planning.policy.refusals import refusal
from dbt_operator.planning.queueing import waiting
from dbt_operator.planning.run import part, slot
from dbt_operator.planning.run.admission import (
    find_start_timeout,
    resolve,
    resolve_largest,
    with_defaults,
)
from dbt_operator.planning.run.awaiting import await_upstreams
from dbt_operator.planning.run.ending import finish
from dbt_operator.planning.run.facts import RunFacts
from dbt_operator.planning.run.recording import wait_for_record
from dbt_operator.planning.run.status import compose, make_attempt
from dbt_operator.planning.state import compare


def admit(facts: RunFacts, now: datetime) -> Plan:
    """Admit a run, refuse it, or say what it waits for."""
    if facts.orders is not None:
        found = part.admit(facts, facts.orders, now)
        return finish(facts, found, now) if isinstance(found, Verdict) else found
    if facts.record is not None:
        waits = wait_for_record(facts, facts.record, now)
        if waits is not None:
            return finish(facts, waits, now) if isinstance(waits, Verdict) else waits
    missing = find_missing(facts.run.spec, facts.references, facts.identity.namespace)
    referred = None if missing else facts.references.found
    if referred is not None and (refused := _find_refusal(facts, referred)):
        return _refuse(facts, refused, now)  # at once, and not after a day of waiting
    if (awaits := await_upstreams(facts, missing, now)) is not None:
        return finish(facts, awaits, now) if isinstance(awaits, Verdict) else awaits
    if referred is None:
        return _wait_for_references(facts, missing, now)
    return _begin(facts, referred, now)


def _begin(facts: RunFacts, referred: Referred, now: datetime) -> Plan:
    """What a run refers to is there, and nothing speaks against it: all that it needs is a slot."""
    (project, _) = referred.project
    run = with_defaults(facts.run, project)
    if not waiting.may_begin(facts):
        limit = seconds(run.spec.queue_timeout) if run.spec.queue_timeout else None
        return slot.claim_slot(facts, limit, now)
    compared_with = compare.find_state(run, project, facts.references.state_run)
    if compared_with is None and compare.missing_is_failure(run.spec):
        return finish(facts, Verdict(Reason.MISSING_STATE, compare.NONE_YET), now)
    conditions = conditions_of(facts, now)
    conditions.admit()
    return compose(
        facts,
        conditions,
        Phase.PENDING,
        "the Job is being created",
        resolved=resolve(run, facts.identity, referred, facts.runner_image, compared_with),
        attempts=[make_attempt(facts.identity, 1, now)],
        reason=None,
    )


def _find_refusal(facts: RunFacts, referred: Referred) -> str:
    """What speaks against a run; empty if nothing does."""
    (project, _), (target, _) = referred.project, referred.target
    run = with_defaults(facts.run, project)
    return refusal(run.spec, project.spec, target.spec) or _find_too_large(facts, run, referred)


def _find_too_large(facts: RunFacts, run: DbtRun, referred: Referred) -> str:
    resolved = resolve_largest(run, facts.identity, referred, facts.runner_image)
    return sizes.refusal(run.spec, resolved, facts.identity, part.windows_of(run.spec.windows))


def _refuse(facts: RunFacts, message: str, now: datetime) -> Plan:
    conditions = conditions_of(facts, now)
    conditions.set(ConditionType.ADMITTED, "False", Reason.INVALID_SPEC, message)
    return finish(facts, Verdict(Reason.INVALID_SPEC, message), now, conditions=conditions)


def _wait_for_references(facts: RunFacts, missing: str, now: datetime) -> Plan:
    """What is applied together arrives in any order, so a missing reference gets the time that a
    pod has to start.
    """
    deadline = waiting.missing_since(facts, now) + find_start_timeout(facts.run.spec)
    if now >= deadline:
        message = f"{missing}: {find_remedy(facts.references, 'DbtRun')}"
        return finish(facts, Verdict(Reason.CONFIG_ERROR, message), now)
    conditions = conditions_of(facts, now)
    conditions.set(ConditionType.ADMITTED, "False", reason_of_missing(facts.references), missing)
    found = compose(facts, conditions, Phase.PENDING, f"waiting: {missing}")
    return replace(found, requeue_after=(deadline - now).total_seconds())
