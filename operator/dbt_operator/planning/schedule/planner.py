"""The planner of a DbtSchedule.

An occurrence is decided by one write, which moves the cursor over it and says in ``status.active``
which run it gets; then that run is created, then its UID is written down, and only then it begins.
Its end is read before it leaves ``active``. So an operator that is killed anywhere runs no
occurrence twice and leaves none out, and one whose clock goes back decides nothing anew.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256

from dbt_operator.api.kinds.schedule import NEXT_RUN_TIMES, DbtScheduleSpec
from dbt_operator.planning.common import placeholders
from dbt_operator.planning.common.durations import format_time
from dbt_operator.planning.common.plan import LOOK_AGAIN, DeleteRun, Plan, fitted
from dbt_operator.planning.common.strays import delete_strays
from dbt_operator.planning.schedule.book import Book
from dbt_operator.planning.schedule.facts import ScheduleFacts
from dbt_operator.planning.schedule.listening import find_due_actions, hear_runs
from dbt_operator.planning.schedule.occurrences import decide
from dbt_operator.planning.schedule.status import Timing, compose
from dbt_operator.planning.schedule.tidying import find_next_expiry, find_superfluous
from dbt_operator.planning.schedule.timetable import TIME_ZONES, Timetable, TimetableError

# The wall clock decides; waiting only wakes. So a clock that is set, or a machine that slept, is
# noticed within this time.
_SOON, _LOOK_SOON = timedelta(hours=1), timedelta(seconds=60)
_LOOK_SOMETIME = timedelta(minutes=15)
_LOOK_AGAIN = 60.0  # seconds; a deletion that did not happen is asked for again


def plan(facts: ScheduleFacts, now: datetime) -> Plan:
    """Decide what to do next about a schedule.

    Raises:
        ValidationError: the status that was put together is none.
    """
    return fitted(_plan(facts, now))


def _plan(facts: ScheduleFacts, now: datetime) -> Plan:
    if (cleared := delete_strays(facts.strays, DeleteRun)) is not None:
        return cleared
    book = Book.of(facts.status)
    try:
        timetable = _read_spec(facts.spec, now)
    except TimetableError as error:
        book = hear_runs(facts, book, str(error), now)
        found = compose(facts, book, Timing(facts.status.timing_hash), now, str(error))
        return replace(found, requeue_after=_LOOK_SOON.total_seconds() if book.active else None)
    if not facts.refusal and (actions := find_due_actions(facts, timetable, now)):
        deletes = any(isinstance(action, DeleteRun) for action in actions)
        return Plan(actions=actions, requeue_after=LOOK_AGAIN if deletes else None)
    timing = hash_timing(facts.spec)
    book = hear_runs(facts, book, facts.refusal, now)
    if book.cursor is None or facts.status.timing_hash != timing:
        book = book.move_cursor(now).forget_undone()
    elif not facts.spec.suspend:
        book = decide(facts, book, timetable, now)
    times = [] if facts.spec.suspend else _find_next(facts, book, timetable, timing)
    found = compose(facts, book, Timing(timing, times), now)
    return _tidy(facts, replace(found, requeue_after=_find_wait(facts, times, now)), now)


def _tidy(facts: ScheduleFacts, found: Plan, now: datetime) -> Plan:
    """A plan that also deletes runs which are kept no longer. One leaves ``active`` first."""
    active = {run.uid for run in facts.status.active or ()}
    ended = [run for run in facts.ended if run.uid not in active]
    if superfluous := find_superfluous(ended, facts.spec.history, now):
        wait = min(found.requeue_after or _LOOK_AGAIN, _LOOK_AGAIN)
        return replace(found, actions=superfluous, requeue_after=wait)
    waits = (found.requeue_after, find_next_expiry(ended, facts.spec.history, now))
    return replace(found, requeue_after=min((wait for wait in waits if wait), default=None))


def hash_timing(spec: DbtScheduleSpec) -> str:
    """Of what in a spec the cursor counts for: when that is edited, what is before now is no
    business of the new one.
    """
    timing = [spec.schedules, spec.timezone or "UTC", bool(spec.suspend)]
    return sha256(json.dumps(timing).encode()).hexdigest()[:16]


def _read_spec(spec: DbtScheduleSpec, now: datetime) -> Timetable:
    """When the schedule is due.

    Raises:
        TimetableError: that, or what it is to run, means nothing.
    """
    timetable = _read_timetable(tuple(spec.schedules), spec.timezone or "UTC", now.year)
    if misplaced := placeholders.wrong(spec.run_template.spec, placeholders.OF_OCCURRENCES):
        raise TimetableError(misplaced)
    return timetable


@lru_cache(maxsize=4096)
def _read_timetable(entries: tuple[str, ...], zone: str, year: int) -> Timetable:
    """A timetable of which every entry has an occurrence within some years from this one."""
    timetable = Timetable.parse(entries, zone)
    if (place := timetable.find_idle(datetime(year, 1, 1, tzinfo=UTC))) is not None:
        raise TimetableError(
            f"spec.schedules[{place}]: {entries[place]!r} has no occurrence in five years"
        )
    return timetable


def _find_next(
    facts: ScheduleFacts, book: Book, timetable: Timetable, timing: str
) -> list[datetime]:
    """The next occurrences. They change only with the cursor and what it counts for."""
    status = facts.status
    known = (status.cursor, status.timing_hash, status.time_zones)
    cursor = book.cursor
    if cursor is None:
        return []
    if status.next_run_times and known == (format_time(cursor), timing, TIME_ZONES):
        return [datetime.fromisoformat(text) for text in status.next_run_times]
    found = timetable.after(cursor)
    return [moment for moment, _ in zip(found, range(NEXT_RUN_TIMES), strict=False)]


def _find_wait(facts: ScheduleFacts, times: list[datetime], now: datetime) -> float | None:
    """For how many seconds nothing is due."""
    if facts.refusal:
        return LOOK_AGAIN
    if not times:
        return None
    left = times[0] - now
    return min(left, _LOOK_SOON if left <= _SOON else _LOOK_SOMETIME).total_seconds()
