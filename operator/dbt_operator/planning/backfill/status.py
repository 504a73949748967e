"""What is known of a DbtBackfill, and how its status is put together from it. The decisions are in
:mod:`backfill`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from dbt_operator.api.kinds.backfill import (
    DbtBackfillStatus,
    WindowFailure,
)
from dbt_operator.api.status import BackfillPhase, ConditionType, Reason
from dbt_operator.api.texts import cut
from dbt_operator.planning.backfill import ledger as ledgers
from dbt_operator.planning.backfill.facts import BackfillFacts
from dbt_operator.planning.backfill.ledger import Ledger
from dbt_operator.planning.common import window_states
from dbt_operator.planning.common.compose import changed, elapsed, events, under_way
from dbt_operator.planning.common.conditions import Conditions
from dbt_operator.planning.common.durations import format_time
from dbt_operator.planning.common.plan import Plan
from dbt_operator.planning.queueing.positions import left_queue
from dbt_protocol.window_codes import reason_of

_FAILURES = 20
_MESSAGE = 300  # characters of a run's


def conditions_of(facts: BackfillFacts, now: datetime) -> Conditions:
    """Its conditions, to be changed."""
    return Conditions.of(facts.status.conditions, facts.identity.generation, now)


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


def compose(
    facts: BackfillFacts,
    conditions: Conditions,
    phase: BackfillPhase,
    message: str,
    **changed: object,
) -> Plan:
    """The status as it is, with what has changed; and an event if the phase has."""
    if not phase.finished:
        under_way(conditions, phase, message)
    update = {
        "phase": phase,
        "message": message,
        "observed_generation": facts.identity.generation,
        "conditions": conditions.list(),
        **left_queue(facts.status, phase, conditions.now),
        **changed,
    }
    status = facts.status.model_copy(update=update)
    return Plan(status=status, events=events(facts.status, status))


def finish(
    facts: BackfillFacts,
    phase: BackfillPhase,
    reason: Reason | None,
    message: str,
    now: datetime,
    conditions: Conditions | None = None,
) -> Plan:
    """The end."""
    conditions = conditions or conditions_of(facts, now)
    word, good = str(reason or phase), reason is None
    conditions.set(
        ConditionType.SUCCEEDED,
        "True" if phase is BackfillPhase.SUCCEEDED else "False",
        word,
        message,
    )
    conditions.set(ConditionType.FINISHED, "True", word, message)
    if good:
        conditions.ready(word, message)
    else:
        conditions.stalled(word, message)
    ended_at = format_time(now)
    found = compose(facts, conditions, phase, message, reason=reason, finished_at=ended_at)
    return changed(found, duration=elapsed(facts.status.started_at, ended_at))


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
