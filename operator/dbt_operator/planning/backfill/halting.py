"""Why a backfill begins no further window, and how it gives up its slot at a boundary."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from dbt_operator.api.status import BackfillPhase, Reason
from dbt_operator.planning.backfill.facts import BackfillFacts
from dbt_operator.planning.backfill.ledger import Ledger
from dbt_operator.planning.backfill.status import describe_progress, recorded
from dbt_operator.planning.common.compose import compose, conditions_of
from dbt_operator.planning.common.durations import format_time
from dbt_operator.planning.common.plan import Plan
from dbt_operator.planning.queueing import positions

Stop = Literal["Boundary", "Now"]


@dataclass(frozen=True)
class Halt:
    """Why no further window is begun for now, and what becomes of those that have."""

    stop: Stop
    message: str


def is_replaced(facts: BackfillFacts) -> bool:
    """Whether the schedule that it is of wants it to end, as a later occurrence is to begin."""
    return facts.record is not None and facts.record.replaced


def latch_cancel(facts: BackfillFacts, now: datetime) -> Plan:
    """Written before anything is stopped: that spec.cancel is set back to false changes nothing any
    more.
    """
    by_schedule = is_replaced(facts) and not facts.spec.cancel
    why = "being replaced: a later occurrence is to begin" if by_schedule else "being cancelled"
    reason = {"reason": Reason.REPLACED} if by_schedule else {}
    phase = facts.status.phase or BackfillPhase.PENDING
    requested = format_time(now)
    conditions = conditions_of(facts, now)
    return compose(facts, conditions, phase, why, cancel_requested_at=requested, **reason)


def find_halt(facts: BackfillFacts, ledger: Ledger) -> Halt | None:
    """Why nothing more is begun."""
    if facts.status.cancel_requested_at is not None:
        return Halt("Now", "being cancelled")
    if facts.slot.released:
        return Halt("Now", "its slot was released by force")
    if ledger.failed and facts.spec.on_failure == "StopNow":
        return Halt(
            "Now", "a window failed: what runs beside it is being cancelled (onFailure: StopNow)"
        )
    if ledger.failed and facts.spec.on_failure != "Continue":
        return Halt("Boundary", "a window failed: nothing more is begun (onFailure: Stop)")
    if facts.spec.suspend:
        return Halt("Boundary", "suspended (spec.suspend)")
    if _should_yield(facts, ledger):
        return Halt("Boundary", "its slot goes to a run of higher priority")
    return None


def _should_yield(facts: BackfillFacts, ledger: Ledger) -> bool:
    """Whether to give the slot to somebody of higher priority: not before a window has been done
    under it.
    """
    since = facts.slot.since
    begun_at = facts.status.ended_before_slot if facts.status.slot == since else ledger.ended
    left = bool(ledger.free) or any(len(run.windows) > 1 for run in ledger.runs)
    return bool(since) and facts.slot.outranked and left and ledger.ended > (begun_at or 0)


def leave_slot(
    facts: BackfillFacts, ledger: Ledger, keys: list[str], halt: Halt, now: datetime
) -> Plan:
    """At a boundary: suspended, or the slot is somebody else's for now."""
    fields = recorded(facts, ledger, keys)
    if facts.slot.since:
        fields["yielded_slot"] = facts.slot.since
    text = f"{describe_progress(ledger)}; {halt.message}"
    if facts.spec.suspend:
        return compose(facts, conditions_of(facts, now), BackfillPhase.SUSPENDED, text, **fields)
    entry = positions.entry(facts.status, facts.slot, now)
    return compose(
        facts, conditions_of(facts, now), BackfillPhase.QUEUED, text, queue=entry, **fields
    )
