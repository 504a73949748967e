"""What is known of a DbtBackfill, and how its status is put together from it. The decisions are in :mod:`backfill`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from dbt_operator.api.backfill import DbtBackfill, DbtBackfillSpec, DbtBackfillStatus, WindowFailure
from dbt_operator.api.project import DbtProject
from dbt_operator.api.run import DbtRun
from dbt_operator.api.status import BackfillPhase, ConditionType, Reason
from dbt_operator.api.target import DbtTarget
from dbt_operator.api.text import cut
from dbt_operator.planning import ledger as ledgers
from dbt_operator.planning.admission import Identity
from dbt_operator.planning.children import Child
from dbt_operator.planning.conditions import Conditions
from dbt_operator.planning.duration import format_time
from dbt_operator.planning.ledger import Ledger
from dbt_operator.planning.plan import Plan
from dbt_operator.planning.queue import Slot
from dbt_operator.planning.run_status import Stray, changed, elapsed, events, left_queue, under_way
from dbt_runner.windows import reason_of

_FAILURES = 20
_MESSAGE = 300  # characters of a run's


@dataclass(frozen=True)
class Seen:
    """All that is known of a backfill when a decision is due.

    Project and target come with their generations; None where they do not exist. ``earlier`` is the backfill that it
    resumes, ``state_run`` the run that ``state.from.run`` names. ``children`` are the runs that windows are given to,
    by their names; what is missing is confirmed absent. ``strays`` are runs of the backfill that have not ended and do
    not stand in its ledger. ``refusal`` is what the API server has just had against creating a run. ``unreadable`` is
    what is wrong with objects that it refers to and that the models refuse, by kind and name; they count as not there.
    """

    backfill: DbtBackfill
    identity: Identity
    created_at: datetime
    runner_image: str
    project: tuple[DbtProject, int] | None = None
    target: tuple[DbtTarget, int] | None = None
    earlier: DbtBackfill | None = None
    state_run: DbtRun | None = None
    children: Mapping[str, Child] = field(default_factory=dict)
    strays: tuple[Stray, ...] = ()
    refusal: str = ""
    slot: Slot = field(default_factory=Slot)
    unreadable: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> DbtBackfillStatus:
        """The status as it stands."""
        return self.backfill.status or DbtBackfillStatus()

    @property
    def spec(self) -> DbtBackfillSpec:
        """What is asked for."""
        return self.backfill.spec


def conditions_of(seen: Seen, now: datetime) -> Conditions:
    """Its conditions, to be changed."""
    return Conditions.of(seen.status.conditions, seen.identity.generation, now)


def recorded(seen: Seen, ledger: Ledger, keys: Sequence[str]) -> dict[str, object]:
    """The fields of status that hold the ledger."""
    children = seen.children.values()
    return {
        "windows": ledgers.counts(ledger.states),
        "ledger": ledgers.entries(ledger, keys),
        "runs": list(ledger.runs) or None,
        "failures": _failures(seen, ledger, keys) or None,
        "commit": seen.status.commit or next((child.commit for child in children if child.commit), None),
        "image_id": seen.status.image_id or next((child.image_id for child in children if child.image_id), None),
    }


def _failures(seen: Seen, ledger: Ledger, keys: Sequence[str]) -> list[WindowFailure]:
    """The first windows that failed, with what their runs said when they were still listened to."""
    known = {failure.window: failure for failure in seen.status.failures or ()}
    for place in ledger.failed:
        key, run = keys[place], ledger.given.get(place, "")
        if key in known or len(known) >= _FAILURES:
            continue
        child = seen.children.get(run)
        message = cut(child.message, _MESSAGE) if child and child.ended else None
        known[key] = WindowFailure(window=key, run=run, reason=Reason(reason_of(ledger.states[place])), message=message)
    return list(known.values())


def compose(seen: Seen, conditions: Conditions, phase: BackfillPhase, message: str, **changed: object) -> Plan:
    """The status as it is, with what has changed; and an event if the phase has."""
    if not phase.finished:
        under_way(conditions, phase, message)
    update = {
        "phase": phase,
        "message": message,
        "observed_generation": seen.identity.generation,
        "conditions": conditions.list(),
        **left_queue(seen.status, phase, conditions.now),
        **changed,
    }
    status = seen.status.model_copy(update=update)
    return Plan(status=status, events=events(seen.status, status))


def finish(
    seen: Seen,
    phase: BackfillPhase,
    reason: Reason | None,
    message: str,
    now: datetime,
    conditions: Conditions | None = None,
) -> Plan:
    """The end."""
    conditions = conditions or conditions_of(seen, now)
    word, good = str(reason or phase), reason is None
    conditions.set(ConditionType.SUCCEEDED, "True" if phase is BackfillPhase.SUCCEEDED else "False", word, message)
    conditions.set(ConditionType.FINISHED, "True", word, message)
    if good:
        conditions.ready(word, message)
    else:
        conditions.stalled(word, message)
    ended_at = format_time(now)
    found = compose(seen, conditions, phase, message, reason=reason, finished_at=ended_at)
    return changed(found, duration=elapsed(seen.status.started_at, ended_at))


def said_of_end(status: DbtBackfillStatus, ledger: Ledger) -> str:
    """How a backfill that failed has ended, in a sentence."""
    first = next(iter(status.failures or ()), None)
    found = ledgers.counts(ledger.states)
    rest = f"{found.failed} of {found.total} windows failed"
    if found.pending:
        rest += f", {found.pending} were not begun"
    if first is None:
        return rest
    why = f": {first.message}" if first.message else ""
    return f"{rest}; window {first.window} in DbtRun {first.run} ({first.reason}){why}"
