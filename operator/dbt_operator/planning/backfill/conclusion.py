"""When a backfill ends, and how."""

from __future__ import annotations

from datetime import datetime

from dbt_operator.api.status import BackfillPhase, Reason
from dbt_operator.planning.backfill.facts import BackfillFacts
from dbt_operator.planning.backfill.ledger import Ledger
from dbt_operator.planning.backfill.status import finish, recorded, said_of_end
from dbt_operator.planning.common import window_states
from dbt_operator.planning.common.compose import changed
from dbt_operator.planning.common.plan import Plan
from dbt_operator.planning.queueing import waiting
from dbt_protocol.window_codes import reason_of


def find_end(facts: BackfillFacts, ledger: Ledger, keys: list[str], now: datetime) -> Plan | None:
    """The end, if this is it."""
    fields = recorded(facts, ledger, keys)
    told = facts.status.model_copy(update=fields)
    if facts.status.cancel_requested_at is not None:
        found = window_states.counts(ledger.states)
        message = f"cancelled: {found.done} windows had ended"
        return changed(
            finish(facts, BackfillPhase.CANCELLED, Reason.CANCELLED, message, now), **fields
        )
    if facts.slot.released:
        target = facts.spec.run_template.spec.target_ref.name
        message = waiting.say_released(target)
        return changed(
            finish(facts, BackfillPhase.FAILED, Reason.INFRASTRUCTURE, message, now), **fields
        )
    if ledger.failed and (facts.spec.on_failure != "Continue" or not ledger.free):
        reason = _find_reason(ledger)
        return changed(
            finish(facts, BackfillPhase.FAILED, reason, said_of_end(told, ledger), now), **fields
        )
    if not ledger.free:
        message = f"{window_states.counts(ledger.states).done} windows have ended"
        return changed(finish(facts, BackfillPhase.SUCCEEDED, None, message, now), **fields)
    return None


def _find_reason(ledger: Ledger) -> Reason:
    """That of the first failure; what was cancelled because of it is none."""
    reasons = [Reason(reason_of(ledger.states[place])) for place in ledger.failed]
    real = [reason for reason in reasons if reason is not Reason.CANCELLED]
    return next(iter([*real, *reasons]), Reason.UNKNOWN)
