"""The planner of a DbtBackfill.

Not admitted -> Queued, until it has a slot of its target -> Running -> Succeeded, Failed or
Cancelled; Suspended, or Queued again at a window's boundary where somebody of higher priority
waits. As for a run, a step is taken on what was observed: windows are given to a run by a write to
the ledger, then that run is created, then its UID is written down, and only then it begins. Its end
is read before its windows are anybody else's. So an operator that is killed anywhere repeats no
window and leaves none out.
"""

from __future__ import annotations

from datetime import datetime

from dbt_operator.api.kinds.backfill import Definition
from dbt_operator.planning.backfill import ledger as ledgers
from dbt_operator.planning.backfill.at_work import show_work
from dbt_operator.planning.backfill.conclusion import find_end
from dbt_operator.planning.backfill.definition import define_windows
from dbt_operator.planning.backfill.facts import BackfillFacts
from dbt_operator.planning.backfill.giving import count_lanes, give_windows
from dbt_operator.planning.backfill.halting import find_halt, is_replaced, latch_cancel, leave_slot
from dbt_operator.planning.backfill.hearing import (
    adopt_runs,
    create_run,
    hear_runs,
    mark_conflicts,
    read_ledger,
)
from dbt_operator.planning.backfill.resolving import wait_for_record
from dbt_operator.planning.backfill.slot_claim import claim_slot
from dbt_operator.planning.backfill.windows import windows_of
from dbt_operator.planning.common.compose import see_edit
from dbt_operator.planning.common.plan import Plan, fitted
from dbt_operator.planning.common.strays import delete_stray_run, delete_strays
from dbt_operator.planning.queueing import waiting


def plan(facts: BackfillFacts, now: datetime) -> Plan:
    """Decide what to do next about a backfill.

    Raises:
        ValidationError: the status that was put together is none.
    """
    return fitted(_plan(facts, now))


def _plan(facts: BackfillFacts, now: datetime) -> Plan:
    status = facts.status
    if status.phase and status.phase.finished:
        return see_edit(facts, delete_strays(facts.strays, delete_stray_run) or Plan())
    if (facts.spec.cancel or is_replaced(facts)) and status.cancel_requested_at is None:
        return latch_cancel(facts, now)
    if status.definition is None or status.windows is None:
        waits = wait_for_record(facts, facts.record, now) if facts.record else None
        return waits or define_windows(facts, now)
    if (cleared := delete_strays(facts.strays, delete_stray_run)) is not None:
        return cleared
    return _go_on(facts, status.definition, now)


def _go_on(facts: BackfillFacts, definition: Definition, now: datetime) -> Plan:
    """Hear what runs say, create those that are due, and give windows to new ones."""
    windows = windows_of(definition)
    keys = [window.key for window in windows]
    ledger = read_ledger(facts, keys)
    missing = [run for run in ledger.runs if run.uid is None and run.name not in facts.children]
    if missing and not facts.refusal:
        return Plan(actions=tuple(create_run(facts, run, windows) for run in missing))
    heard = hear_runs(facts, ledger, windows, now)
    facts = mark_conflicts(facts, heard)
    ledger = ledgers.advance(adopt_runs(facts, ledger), heard)
    halt = find_halt(facts, ledger)
    if not ledger.runs and (over := find_end(facts, ledger, keys, now)) is not None:
        return over
    if halt is None and ledger.free and count_lanes(facts, ledger) > 0:
        if not waiting.may_begin(facts):
            return claim_slot(facts, ledger, keys, now)
        return give_windows(facts, ledger, keys, now)
    if not ledger.runs and halt is not None:
        return leave_slot(facts, ledger, keys, halt, now)
    return show_work(facts, ledger, keys, halt, now)
