"""How a backfill asks for a slot of its target, and waits for one."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dbt_operator.api.status import BackfillPhase, Reason
from dbt_operator.planning.backfill.at_work import show_work
from dbt_operator.planning.backfill.facts import BackfillFacts
from dbt_operator.planning.backfill.ledger import Ledger
from dbt_operator.planning.backfill.resolving import find_refusal, refuse, wait_for_references
from dbt_operator.planning.backfill.status import End, finish, recorded
from dbt_operator.planning.common.compose import changed, compose, conditions_of
from dbt_operator.planning.common.durations import seconds
from dbt_operator.planning.common.plan import Plan, SettleSlots
from dbt_operator.planning.common.references import find_missing
from dbt_operator.planning.queueing import positions, waiting


def claim_slot(facts: BackfillFacts, ledger: Ledger, keys: list[str], now: datetime) -> Plan:
    """Ask for a slot, or wait in the queue for no longer than allowed. What can be refused is
    refused before.
    """
    if facts.status.resolved is None:
        if missing := find_missing(
            facts.spec.run_template.spec, facts.references, facts.identity.namespace
        ):
            return wait_for_references(facts, missing, now)
        if refused := find_refusal(facts):
            return refuse(facts, refused, now)
    target = facts.spec.run_template.spec.target_ref.name
    if waiting.asks(facts):
        return Plan(actions=(SettleSlots(target),))
    limit = facts.spec.run_template.spec.queue_timeout
    due = positions.deadline(facts.status, seconds(limit) if limit else None, now)
    if due is not None and now >= due and not ledger.runs:
        message = waiting.say_timed_out(target, facts)
        found = finish(facts, End(BackfillPhase.FAILED, Reason.QUEUE_TIMEOUT, message), now)
        return changed(found, **recorded(facts, ledger, keys))
    if ledger.runs:
        return show_work(facts, ledger, keys, None, now)
    place = waiting.find_place(target, facts, due, now)
    found = compose(
        facts,
        conditions_of(facts, now),
        BackfillPhase.QUEUED,
        place.message,
        queue=place.queue,
        reason=place.reason,
        **recorded(facts, ledger, keys),
    )
    return replace(found, requeue_after=place.look_after)
