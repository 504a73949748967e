"""How the status of a DbtSchedule is put together. The decisions are in the planner, and in the
policies beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dbt_operator.api.kinds.schedule import ActiveRun, DbtScheduleStatus, PastOccurrence
from dbt_operator.api.registry import RUN
from dbt_operator.api.status import ConditionType, Reason
from dbt_operator.planning.common.conditions import Conditions
from dbt_operator.planning.common.durations import duration, format_time
from dbt_operator.planning.common.names import PAUSED_UNTIL
from dbt_operator.planning.common.plan import Event, Plan
from dbt_operator.planning.common.timetable import TIME_ZONES
from dbt_operator.planning.notifying.deciding import set_notified
from dbt_operator.planning.schedule.book import Book
from dbt_operator.planning.schedule.concurrency import NOT_IN_TIME, STILL_RUNNING, SUPERSEDED
from dbt_operator.planning.schedule.facts import ScheduleFacts
from dbt_operator.planning.schedule.marks import find_marks
from dbt_operator.planning.schedule.punctuality import Punctuality, is_judged
from dbt_operator.planning.schedule.runs import metadata_of

_WHY = {
    STILL_RUNNING: "the run before has not ended",
    SUPERSEDED: "a later one came while it waited",
    NOT_IN_TIME: "it could not be begun in time",
}
LATE = "Late"
_LARGEST_OFFSET = timedelta(seconds=60)
_ENDS = ("Succeeded", "Failed", "Cancelled")


@dataclass(frozen=True)
class Timing:
    """What the cursor counts for, and what follows on it."""

    hash: str | None  # None as long as the spec means nothing
    next_run_times: Sequence[datetime] = ()
    looks: tuple[datetime, ...] = ()  # when something else may be due
    punctuality: Punctuality = field(default_factory=Punctuality)


def compose(
    facts: ScheduleFacts, book: Book, timing: Timing, now: datetime, problem: str = ""
) -> Plan:
    """The status as it is, with what has changed, and events that tell of it.

    Args:
        facts: of the schedule.
        book: what has been decided.
        timing: of the spec.
        now: the time.
        problem: what is wrong with the spec; empty if nothing is.
    """
    conditions = Conditions.of(facts.status.conditions, facts.identity.generation, now)
    times = [format_time(moment) for moment in timing.next_run_times]
    due = timing.punctuality.expected_finish
    message = problem or _say(facts, book, times)
    _set_conditions(facts, conditions, book, problem, message)
    status = facts.status.model_copy(
        update={
            "observed_generation": facts.identity.generation,
            "message": message,
            "timing_hash": timing.hash or facts.status.timing_hash,
            "next_run_times": times or None,
            "expected_finish": format_time(due) if due else None,
            "time_zones": TIME_ZONES if times else facts.status.time_zones,
            "conditions": conditions.list(),
            **book.fields(),
        }
    )
    return Plan(status, events=_tell(facts.status, status))


def _say(facts: ScheduleFacts, book: Book, times: list[str]) -> str:
    if facts.refusal:
        return f"a run cannot be created: {facts.refusal}"
    if book.active:
        names = ", ".join(f"{run.kind or RUN.kind} {run.name}" for run in book.active)
        after = f"; then that of {book.waiting.occurrence} begins" if book.waiting else ""
        behind = f"; {book.backlog.count} more are made up for" if book.backlog else ""
        return f"{names} has not ended{after}{behind}"
    if facts.spec.suspend:
        return "suspended: spec.suspend is true"
    if book.paused_until:
        return f"paused until {book.paused_until}, as annotation {PAUSED_UNTIL} says"
    if book.triggered:
        return f"triggered at {book.triggered.since}: a run begins when debounce is over"
    after = f"the next run begins at {times[0]}" if times else "no run is due"
    missing = [signal.name for signal in facts.signals if signal.is_missing]
    return f"{after}; {' and '.join(missing)} does not exist" if missing else after


def _set_conditions(
    facts: ScheduleFacts, conditions: Conditions, book: Book, problem: str, message: str
) -> None:
    """A schedule is healthy when it can be carried out, whatever became of its last run."""
    if problem:
        conditions.stalled(Reason.INVALID_SPEC, problem)
    elif facts.refusal:
        conditions.progressing("CreationRefused", message)
    else:
        conditions.ready("Accepted", "runs are created on time")
    _set_suspended(facts, conditions, book)
    _set_on_time(facts, conditions, book)
    _set_metadata_applied(facts, conditions)
    _set_clock_agrees(facts, conditions)
    set_notified(conditions, book.notifications)
    before = facts.status.history or []
    last = _find_last_end(book)
    if last is not None and last not in before:
        succeeded = last.phase == "Succeeded"
        conditions.set(
            ConditionType.LAST_RUN_SUCCEEDED,
            "True" if succeeded else "False",
            last.reason or last.phase,
            f"{last.kind or RUN.kind} {last.run}" + (f": {last.message}" if last.message else ""),
        )


def _set_suspended(facts: ScheduleFacts, conditions: Conditions, book: Book) -> None:
    if facts.spec.suspend:
        conditions.set(ConditionType.SUSPENDED, "True", "Suspended", "spec.suspend is true")
    elif book.paused_until:
        why = f"annotation {PAUSED_UNTIL}: {book.paused_until}"
        conditions.set(ConditionType.SUSPENDED, "True", "Paused", why)
    else:
        conditions.set(ConditionType.SUSPENDED, "False", "Active")


def _set_on_time(facts: ScheduleFacts, conditions: Conditions, book: Book) -> None:
    if not is_judged(facts.spec):
        conditions.remove(ConditionType.ON_TIME)
    elif book.late:
        why = f"{book.late.occurrence} was to have succeeded by {book.late.since}"
        conditions.set(ConditionType.ON_TIME, "False", LATE, why)
    else:
        conditions.set(ConditionType.ON_TIME, "True", "OnTime")


def _set_clock_agrees(facts: ScheduleFacts, conditions: Conditions) -> None:
    """Runs begin by the operator's clock: that it is wrong would not be seen otherwise."""
    if abs(facts.clock_offset) <= _LARGEST_OFFSET:
        conditions.remove(ConditionType.CLOCK_AGREES)
        return
    off = duration(abs(facts.clock_offset).total_seconds())
    where = "behind" if facts.clock_offset > timedelta(0) else "ahead of"
    why = f"the operator's clock is {off} {where} that of the API server: set the clock of its node"
    conditions.set(ConditionType.CLOCK_AGREES, "False", "ClockDiffers", why)


def _set_metadata_applied(facts: ScheduleFacts, conditions: Conditions) -> None:
    """Marks by which somebody knows what is theirs are left out, which has to be said."""
    left_out = find_marks(metadata_of(facts.spec)).left_out
    if left_out:
        names = ", ".join(left_out)
        template = "runTemplate" if facts.spec.run_template else "backfillTemplate"
        why = f"spec.{template}.metadata: {names} would make the runs somebody else's: left out"
        conditions.set(ConditionType.METADATA_APPLIED, "False", "TrackingLeftOut", why)
    else:
        conditions.remove(ConditionType.METADATA_APPLIED)


def _find_last_end(book: Book) -> PastOccurrence | None:
    """The last one that tells how things are: one that was replaced does not."""
    ended = (
        past
        for past in book.history
        if past.run and past.phase in _ENDS and past.cause != "Backfill"
    )
    return next((past for past in ended if past.reason != Reason.REPLACED), None)


def _tell_creation(run: ActiveRun) -> str:
    return f"{run.kind or RUN.kind} {run.name} is created for {run.occurrence}"


def _tell(old: DbtScheduleStatus, new: DbtScheduleStatus) -> tuple[Event, ...]:
    """What people are told of a change."""
    known = {run.name for run in old.active or ()}
    events = [
        Event("Normal", "Scheduled", _tell_creation(run))
        for run in new.active or ()
        if run.name not in known
    ]
    if new.late and not old.late:
        why = f"{new.late.occurrence} was to have succeeded by {new.late.since}"
        events.append(Event("Warning", LATE, why))
    for past in new.history or ():
        if past in (old.history or ()) or past.run:
            continue  # a run tells of its end itself
        several = f" and {past.count - 1} more" if past.count else ""
        kind = "Normal" if past.phase == "Skipped" else "Warning"
        why = _WHY.get(past.reason or "", "")
        events.append(Event(kind, past.phase, f"{past.occurrence}{several}: {why}"))
    return tuple(events)
