"""What a backfill says and orders while its runs are at work."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dbt_operator.api.kinds.backfill import WindowRun
from dbt_operator.api.status import BackfillPhase
from dbt_operator.planning.backfill.facts import BackfillFacts
from dbt_operator.planning.backfill.halting import Halt, Stop
from dbt_operator.planning.backfill.ledger import Ledger
from dbt_operator.planning.backfill.status import describe_progress, record_slot, recorded
from dbt_operator.planning.common.compose import compose, conditions_of
from dbt_operator.planning.common.plan import LOOK_AGAIN, Plan, SettleSlots


def show_work(
    facts: BackfillFacts, ledger: Ledger, keys: list[str], halt: Halt | None, now: datetime
) -> Plan:
    """Runs are at work: tell them where to stop, if they are to."""
    if ledger.runs and not facts.slot.since and not facts.slot.asked and not facts.slot.released:
        return Plan(
            actions=(SettleSlots(facts.spec.run_template.spec.target_ref.name),)
        )  # the target is a new one
    at_once = facts.spec.max_concurrent_windows or 1
    runs = [
        _order_stop(run, halt.stop if halt else "Boundary" if place >= at_once else None)
        for place, run in enumerate(ledger.runs)
    ]
    ledger = replace(ledger, runs=runs)
    message = describe_progress(ledger) + (f"; {halt.message}" if halt else "")
    for name, child in facts.children.items():
        if child.unreadable:
            message += (
                f"; DbtRun {name} cannot be read, so nobody knows what it has done: "
                f"{child.unreadable}"
            )
    if facts.refusal:
        message = f"waiting: a DbtRun cannot be created: {facts.refusal}"
    found = compose(
        facts,
        conditions_of(facts, now),
        BackfillPhase.RUNNING,
        message,
        **record_slot(facts, ledger),
        **recorded(facts, ledger, keys),
    )
    return replace(found, requeue_after=LOOK_AGAIN if facts.refusal else None)


def _order_stop(run: WindowRun, stop: Stop | None) -> WindowRun:
    """An order that was given is not taken back: the run may have heard it."""
    if stop is None or run.stop in (stop, "Now"):
        return run
    return run.model_copy(update={"stop": stop})
