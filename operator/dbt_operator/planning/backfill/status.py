"""How the status of a DbtBackfill is put together. The decisions are in the planner, and in the
policies beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dbt_operator.api.kinds.backfill import (
    DbtBackfillStatus,
    WindowFailure,
)
from dbt_operator.api.status import BackfillPhase, Reason
from dbt_operator.api.texts import cut
from dbt_operator.planning.backfill import ledger as ledgers
from dbt_operator.planning.backfill.facts import BackfillFacts
from dbt_operator.planning.backfill.ledger import Ledger
from dbt_operator.planning.common import window_states
from dbt_operator.planning.common.compose import changed, compose, conditions_of, elapsed
from dbt_operator.planning.common.conditions import Conditions
from dbt_operator.planning.common.durations import format_time
from dbt_operator.planning.common.plan import Plan
from dbt_operator.planning.notifying.telling import tell_end
from dbt_protocol.window_codes import reason_of

_FAILURES = 20
_MESSAGE = 300  # characters of a run's


def recorded(facts: BackfillFacts, ledger: Ledger, keys: Sequence[str]) -> dict[str, object]:
    """The fields of status that hold the ledger."""
    children = facts.children.values()
    return {
        "windows": window_states.counts(ledger.states),
        "ledger": ledgers.entries(ledger, keys),
        "runs": list(ledger.runs) or None,
        "failures": _failures(facts, ledger, keys) or None,
        "commit": facts.status.commit
        or next((child.commit for child in children if child.commit), None),
        "image_id": facts.status.image_id
        or next((child.image_id for child in children if child.image_id), None),
    }


def _failures(facts: BackfillFacts, ledger: Ledger, keys: Sequence[str]) -> list[WindowFailure]:
    """The first windows that failed, with what their runs said when they were still listened to."""
    known = {failure.window: failure for failure in facts.status.failures or ()}
    for place in ledger.failed:
        key, run = keys[place], ledger.given.get(place, "")
        if key in known or len(known) >= _FAILURES:
            continue
        child = facts.children.get(run)
        message = cut(child.message, _MESSAGE) if child and child.ended else None
        known[key] = WindowFailure(
            window=key, run=run, reason=Reason(reason_of(ledger.states[place])), message=message
        )
    return list(known.values())


@dataclass(frozen=True)
class End:
    """How a backfill ends."""

    phase: BackfillPhase
    reason: Reason | None  # None where it ends as it should
    message: str


def find_cancel_reason(facts: BackfillFacts) -> Reason:
    """Why it was cancelled: by somebody, or because a later occurrence is to begin."""
    return Reason.REPLACED if facts.status.reason is Reason.REPLACED else Reason.CANCELLED


def finish(
    facts: BackfillFacts, end: End, now: datetime, conditions: Conditions | None = None
) -> Plan:
    """End the backfill. ``conditions`` are its own, where some of them have changed already."""
    conditions = conditions or conditions_of(facts, now)
    conditions.finish(
        str(end.reason or end.phase),
        end.message,
        succeeded=end.phase is BackfillPhase.SUCCEEDED,
        as_wanted=end.reason is None,
    )
    ended_at = format_time(now)
    found = compose(
        facts, conditions, end.phase, end.message, reason=end.reason, finished_at=ended_at
    )
    found = changed(found, duration=elapsed(facts.status.started_at, ended_at))
    return tell_end(found, facts.identity, facts.listeners, facts.record, now)


def said_of_end(status: DbtBackfillStatus, ledger: Ledger) -> str:
    """How a backfill that failed has ended, in a sentence."""
    first = next(iter(status.failures or ()), None)
    found = window_states.counts(ledger.states)
    rest = f"{found.failed} of {found.total} windows failed"
    if found.pending:
        rest += f", {found.pending} were not begun"
    if first is None:
        return rest
    why = f": {first.message}" if first.message else ""
    return f"{rest}; window {first.window} in DbtRun {first.run} ({first.reason}){why}"


def record_slot(facts: BackfillFacts, ledger: Ledger) -> dict[str, object]:
    """Which slot it works under, and how much was done before."""
    if not facts.slot.since or facts.status.slot == facts.slot.since:
        return {}
    return {"slot": facts.slot.since, "ended_before_slot": ledger.ended}


def describe_progress(ledger: Ledger) -> str:
    """How far a backfill is, in a sentence."""
    at_work = len(ledger.runs)
    return (
        f"{ledger.ended} of {len(ledger.states)} windows have ended, {at_work} "
        f"pod{'s' * (at_work != 1)} at work"
    )
