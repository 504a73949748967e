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
from typing import Any

from dbt_operator.api.kinds.schedule import NEXT_RUN_TIMES, DbtScheduleSpec
from dbt_operator.planning.common import placeholders
from dbt_operator.planning.common.durations import format_time, parse_time
from dbt_operator.planning.common.plan import LOOK_AGAIN, DeleteRun, Event, Plan, fitted
from dbt_operator.planning.common.strays import delete_stray_run, delete_strays
from dbt_operator.planning.common.timetable import TIME_ZONES, Timetable, TimetableError
from dbt_operator.planning.policy.refusals import refused_in_template
from dbt_operator.planning.schedule.book import Book
from dbt_operator.planning.schedule.facts import ScheduleFacts
from dbt_operator.planning.schedule.listening import find_due_actions, hear_runs
from dbt_operator.planning.schedule.occurrence_messages import tell
from dbt_operator.planning.schedule.occurrences import begin_next, decide
from dbt_operator.planning.schedule.punctuality import judge
from dbt_operator.planning.schedule.requests import (
    AnnotationError,
    Pause,
    read_pause,
    remember_requests,
    take_requests,
)
from dbt_operator.planning.schedule.status import Timing, compose
from dbt_operator.planning.schedule.tidying import find_next_expiry, find_superfluous
from dbt_operator.planning.schedule.triggers import (
    find_due,
    follow_triggers,
    follows_jobs,
    hear_signals,
    see_signals,
)

# The wall clock decides; waiting only wakes. A clock that is set, or a machine that slept, is
# noticed by process/clock_watch.py, which wakes everything; and if that fails, within this time.
_LOOK_SOMETIME = timedelta(minutes=15)
_LOOK_SOON = timedelta(seconds=60)
_LOOK_AGAIN = 60.0  # seconds; a deletion that did not happen is asked for again


def plan(facts: ScheduleFacts, now: datetime) -> Plan:
    """Decide what to do next about a schedule.

    Raises:
        ValidationError: the status that was put together is none.
    """
    return fitted(_plan(facts, now))


def _plan(facts: ScheduleFacts, now: datetime) -> Plan:
    if (cleared := delete_strays(facts.strays, delete_stray_run)) is not None:
        return cleared
    book = Book.of(facts.status)
    try:
        timetable = _read_spec(facts.spec, now)
        pause = read_pause(facts.identity.annotations)
        if facts.cycle:
            raise TimetableError(f"spec.triggers: {facts.cycle}: it would trigger itself")
    except (TimetableError, AnnotationError) as error:
        book = hear_runs(facts, book, str(error), now)
        book = tell(facts, book, now)
        found = compose(facts, book, Timing(facts.status.timing_hash), now, str(error))
        return replace(found, requeue_after=_LOOK_SOON.total_seconds() if book.active else None)
    if not facts.refusal and (actions := find_due_actions(facts, timetable, now)):
        deletes = any(isinstance(action, DeleteRun) for action in actions)
        return Plan(actions=actions, requeue_after=LOOK_AGAIN if deletes else None)
    book = hear_runs(facts, book, facts.refusal, now)
    book, events = _decide(facts, book, timetable, pause, now)
    timing = _find_timing(facts, book, timetable, pause, now)
    book = tell(facts, replace(book, late=timing.punctuality.late), now)
    found = compose(facts, book, timing, now)
    found = replace(found, events=(*found.events, *events))
    return _tidy(facts, replace(found, requeue_after=_find_wait(facts, timing, now)), now)


def _decide(
    facts: ScheduleFacts, book: Book, timetable: Timetable, pause: Pause, now: datetime
) -> tuple[Book, tuple[Event, ...]]:
    """With everything decided that is due by the clock, or that somebody asks for."""
    is_new, paused_before = book.cursor is None, book.paused_until
    if is_new or facts.status.timing_hash != hash_timing(facts.spec):
        book = see_signals(book.move_cursor(now).forget_undone(), facts.signals)
    book = pause.move_cursor(book, now)
    if (seen := pause.find_seen(paused_before, now)) is not None:
        book = see_signals(book, facts.signals, seen)
    if is_new:
        return remember_requests(facts.identity.annotations, book), ()
    stands_still = _stands_still(facts, pause, now)
    if not stands_still:
        book = hear_signals(facts, decide(facts, book, timetable, now), now)
    book, events = take_requests(facts, book, timetable, now)
    book = begin_next(facts, book, timetable, now)
    return book if stands_still else follow_triggers(facts, book, now), events


def _stands_still(facts: ScheduleFacts, pause: Pause, now: datetime) -> bool:
    """Whether nothing is due by the clock."""
    return bool(facts.spec.suspend) or pause.is_in_force(now)


def _find_timing(
    facts: ScheduleFacts, book: Book, timetable: Timetable, pause: Pause, now: datetime
) -> Timing:
    """What comes next, and whether that is in time."""
    timing = hash_timing(facts.spec)
    times = [] if facts.spec.suspend else _find_next(facts, book, timetable, timing, pause)
    punctuality = judge(facts.spec, book, timetable, next(iter(times), None), now)
    looks = (
        pause.end if pause.is_in_force(now) else None,
        None if book.active else find_due(facts.spec, book),
    )
    return Timing(timing, times, tuple(filter(None, looks)), punctuality)


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
    timing: list[Any] = [spec.schedules, spec.timezone or "UTC", bool(spec.suspend)]
    if spec.triggers:
        timing.append([trigger.to_dict() for trigger in spec.triggers])
    return sha256(json.dumps(timing).encode()).hexdigest()[:16]


def _read_spec(spec: DbtScheduleSpec, now: datetime) -> Timetable:
    """When the schedule is due.

    Raises:
        TimetableError: that, or what it is to run, means nothing.
    """
    timetable = _read_timetable(tuple(spec.schedules or ()), spec.timezone or "UTC", now.year)
    if misplaced := _find_misplaced(spec) or _find_refused(spec):
        raise TimetableError(misplaced)
    return timetable


def _find_misplaced(spec: DbtScheduleSpec) -> str:
    """What is wrong with the placeholders of the template; empty if nothing is."""
    of_occurrences = placeholders.OF_OCCURRENCES if spec.schedules else placeholders.OF_MOMENTS
    if spec.run_template is not None:
        return placeholders.wrong(spec.run_template.spec, of_occurrences)
    if spec.backfill_template is None:
        return "spec: set exactly one of runTemplate and backfillTemplate"
    backfill, path = spec.backfill_template.spec, "spec.backfillTemplate.spec.runTemplate.spec"
    windows = backfill.windows
    of_windows = placeholders.find_known(windows) if windows else placeholders.OF_DATES
    run = backfill.run_template.spec
    if misplaced := placeholders.wrong(run, (*of_windows, *of_occurrences), path):
        return misplaced
    used = placeholders.find_used(run).intersection(of_windows)
    return "" if used else placeholders.missing(of_windows, path)


def _find_refused(spec: DbtScheduleSpec) -> str:
    """A variable that none of the runs could set; empty if there is none."""
    if spec.run_template is not None:
        return refused_in_template(spec.run_template.spec, "spec.runTemplate.spec")
    if spec.backfill_template is None:
        return ""
    template = spec.backfill_template.spec.run_template.spec
    return refused_in_template(template, "spec.backfillTemplate.spec.runTemplate.spec")


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
    facts: ScheduleFacts, book: Book, timetable: Timetable, timing: str, pause: Pause
) -> list[datetime]:
    """The next occurrences. They change only with the cursor, what it counts for, and a pause."""
    status, cursor = facts.status, book.cursor
    if cursor is None or (book.paused_until is not None and pause.end is None):
        return []
    known = (status.cursor, status.timing_hash, status.time_zones, status.paused_until)
    same = (format_time(cursor), timing, TIME_ZONES, book.paused_until)
    if status.next_run_times and known == same:
        return [parse_time(text) for text in status.next_run_times]
    found = timetable.after(max(cursor, pause.end) if book.paused_until and pause.end else cursor)
    return [moment for moment, _ in zip(found, range(NEXT_RUN_TIMES), strict=False)]


def _find_wait(facts: ScheduleFacts, timing: Timing, now: datetime) -> float | None:
    """For how many seconds nothing is due."""
    if facts.refusal:
        return LOOK_AGAIN
    waits = [moment - now for moment in (*timing.next_run_times[:1], *timing.looks)]
    late = timing.punctuality.find_wait(now)
    waits += [late] if late is not None else []
    if not facts.spec.suspend and follows_jobs(facts.spec):
        waits.append(_LOOK_SOON)  # whoever watches Jobs may not be let, and tells nothing then
    left = min(waits, default=None)
    if left is None:
        return None
    return min(left, _LOOK_SOMETIME).total_seconds()
