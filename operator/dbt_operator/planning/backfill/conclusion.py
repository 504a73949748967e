"""When a backfill ends, and how."""

from __future__ import annotations

from datetime import datetime

from dbt_operator.api.kinds.backfill import DbtBackfillStatus
from dbt_operator.api.status import BackfillPhase, Reason
from dbt_operator.planning.backfill.facts import BackfillFacts
from dbt_operator.planning.backfill.ledger import Ledger
from dbt_operator.planning.backfill.status import (
    End,
    find_cancel_reason,
    finish,
    recorded,
    said_of_end,
)
from dbt_operator.planning.common import window_states
from dbt_operator.planning.common.compose import changed
from dbt_operator.planning.common.plan import Plan
from dbt_operator.planning.queueing import waiting
from dbt_protocol.window_codes import reason_of


def find_end(facts: BackfillFacts, ledger: Ledger, keys: list[str], now: datetime) -> Plan | None:
    """The end, if this is it."""
    fields = recorded(facts, ledger, keys)
    end = _choose_end(facts, ledger, facts.status.model_copy(update=fields))
    return changed(finish(facts, end, now), **fields) if end else None


def _choose_end(facts: BackfillFacts, ledger: Ledger, told: DbtBackfillStatus) -> End | None:
    """How it ends, if this is the end. ``told`` is its status with the ledger as it is now."""
    if facts.status.cancel_requested_at is not None:
        found = window_states.counts(ledger.states)
        message = f"cancelled: {found.done} windows had ended"
        return End(BackfillPhase.CANCELLED, find_cancel_reason(facts), message)
    if facts.slot.released:
        message = waiting.say_released(facts.spec.run_template.spec.target_ref.name)
        return End(BackfillPhase.FAILED, Reason.INFRASTRUCTURE, message)
    if ledger.failed and (facts.spec.on_failure != "Continue" or not ledger.free):
        return End(BackfillPhase.FAILED, _find_reason(ledger), said_of_end(told, ledger))
    if not ledger.free:
        message = f"{window_states.counts(ledger.states).done} windows have ended"
        return End(BackfillPhase.SUCCEEDED, None, message)
    return None


def _find_reason(ledger: Ledger) -> Reason:
    """That of the first failure; what was cancelled because of it is none."""
    reasons = [Reason(reason_of(ledger.states[place])) for place in ledger.failed]
    real = [reason for reason in reasons if reason is not Reason.CANCELLED]
    return next(iter([*real, *reasons]), Reason.UNKNOWN)
