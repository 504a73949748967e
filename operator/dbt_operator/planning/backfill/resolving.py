"""What a backfill refers to, what speaks against it, and what its runs are built from."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dbt_operator.api.kinds.run import DbtRun, DbtRunSpec
from dbt_operator.api.parts.resolved import Resolved
from dbt_operator.api.status import BackfillPhase, ConditionType, Reason
from dbt_operator.planning.attempt import sizes
from dbt_operator.planning.backfill import ledger as ledgers
from dbt_operator.planning.backfill.children import as_given
from dbt_operator.planning.backfill.facts import BackfillFacts
from dbt_operator.planning.backfill.status import End, finish
from dbt_operator.planning.backfill.windows import windows_of
from dbt_operator.planning.common.compose import compose, conditions_of
from dbt_operator.planning.common.plan import LOOK_AGAIN, Plan
from dbt_operator.planning.common.record import Record
from dbt_operator.planning.common.references import (
    Referred,
    find_missing,
    find_remedy,
    reason_of_missing,
)
from dbt_operator.planning.common.unrecorded import find_unrecorded
from dbt_operator.planning.policy.refusals import refusal
from dbt_operator.planning.queueing import waiting
from dbt_operator.planning.run import part
from dbt_operator.planning.run.admission import (
    find_start_timeout,
    resolve,
    resolve_largest,
    with_defaults,
)
from dbt_operator.planning.state import compare

NOT_ENDED = "has not ended yet"  # how the complaint about a backfill ends that is resumed too early


def refuse(facts: BackfillFacts, message: str, now: datetime) -> Plan:
    """End a backfill that cannot be admitted as it is."""
    conditions = conditions_of(facts, now)
    conditions.set(ConditionType.ADMITTED, "False", Reason.INVALID_SPEC, message)
    return finish(facts, End(BackfillPhase.FAILED, Reason.INVALID_SPEC, message), now, conditions)


def wait_for_references(facts: BackfillFacts, missing: str, now: datetime) -> Plan:
    """What is applied together arrives in any order; what never arrives ends the backfill. One that
    is resumed may take as long as it takes.
    """
    limit = find_start_timeout(facts.spec.run_template.spec)
    deadline = waiting.missing_since(facts, now) + limit
    if now >= deadline and not missing.endswith(NOT_ENDED):
        message = f"{missing}: {find_remedy(facts.references, 'DbtBackfill')}"
        return finish(facts, End(BackfillPhase.FAILED, Reason.CONFIG_ERROR, message), now)
    conditions = conditions_of(facts, now)
    conditions.set(
        ConditionType.ADMITTED,
        "False",
        reason_of_missing(facts.references),
        missing,
    )
    found = compose(facts, conditions, BackfillPhase.PENDING, f"waiting: {missing}")
    return replace(found, requeue_after=LOOK_AGAIN)


def wait_for_record(facts: BackfillFacts, record: Record, now: datetime) -> Plan | None:
    """Wait until the schedule's status knows the backfill, or end one that it never will know; None
    where it does.
    """
    limit = find_start_timeout(facts.spec.run_template.spec)
    found = find_unrecorded(record, facts.status.conditions, facts.created_at, limit, now)
    if found is None:
        return None
    if found.is_over:
        return refuse(facts, found.message, now)
    conditions = conditions_of(facts, now)
    conditions.set(ConditionType.ADMITTED, found.state, found.reason, found.message)
    plan = compose(facts, conditions, BackfillPhase.PENDING, found.message)
    return replace(plan, requeue_after=LOOK_AGAIN)


def find_refusal(facts: BackfillFacts) -> str:
    """Why the backfill is refused, as far as it can be known before there is a slot; empty where
    nothing speaks against it.
    """
    referred = facts.references.found
    if referred is None:
        return ""
    (project, _), (target, _) = referred.project, referred.target
    refused = refusal(_complete_template(facts, referred).spec, project.spec, target.spec)
    return refused or _find_too_large(facts, referred)


def _complete_template(facts: BackfillFacts, referred: Referred) -> DbtRun:
    """The run of each window."""
    spec = DbtRunSpec.model_validate(facts.spec.run_template.spec.to_dict())
    return with_defaults(DbtRun(spec=spec), referred.project[0])


def resolve_runs(facts: BackfillFacts, now: datetime) -> Resolved | Plan:
    """What the runs' Jobs are built from; or what to do as long as that is not known."""
    references = facts.references
    missing = find_missing(facts.spec.run_template.spec, references, facts.identity.namespace)
    referred = references.found
    if missing or referred is None:
        return wait_for_references(facts, missing, now)
    if too_large := _find_too_large(facts, referred):
        return refuse(facts, too_large, now)
    template = _complete_template(facts, referred)
    compared_with = compare.find_state(template, referred.project[0], references.state_run)
    if compared_with is None and compare.missing_is_failure(template.spec):
        return finish(facts, End(BackfillPhase.FAILED, Reason.MISSING_STATE, compare.NONE_YET), now)
    found = resolve(template, facts.identity, referred, facts.runner_image, compared_with)
    # A window is not the state of the whole project.
    return found.model_copy(update={"promote": None, "state_location": None})


def _find_too_large(facts: BackfillFacts, referred: Referred) -> str:
    """What of the run of any pod is too large."""
    template = _complete_template(facts, referred)
    resolved = resolve_largest(template, facts.identity, referred, facts.runner_image)
    windows = windows_of(facts.status.definition) if facts.status.definition else ()
    most = (
        facts.spec.windows_per_pod
        if isinstance(facts.spec.windows_per_pod, int)
        else ledgers.LARGEST_SHARE
    )
    largest = sorted(windows, key=lambda window: -sum(map(len, vars(window).values())))[:most]
    given = part.windows_of(as_given(largest))
    return sizes.refusal(template.spec, resolved, facts.identity, given, "spec.runTemplate.spec")
