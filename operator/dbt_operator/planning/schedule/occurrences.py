"""Which occurrences are due, and what is done about them."""

from __future__ import annotations

from datetime import datetime

from dbt_operator.api.kinds.schedule import ActiveRun, PastOccurrence
from dbt_operator.planning.common.durations import format_time
from dbt_operator.planning.schedule.book import Book
from dbt_operator.planning.schedule.facts import ScheduleFacts
from dbt_operator.planning.schedule.runs import name_run
from dbt_operator.planning.schedule.timetable import Timetable

STILL_RUNNING = "StillRunning"
NOBODY_THERE = "NotInTime"


def decide(facts: ScheduleFacts, book: Book, timetable: Timetable, now: datetime) -> Book:
    """With everything that is due by now decided.

    Of several that have come due since somebody last looked, the newest gets a run: what it builds
    is what all of them would have built. None does while the run before is at work.
    """
    due = _find_due(facts, book, timetable, now)
    if not due:
        return book
    *missed, latest = due
    book = book.move_cursor(latest)
    book = book.pass_over(missed, _passed("Missed", NOBODY_THERE))
    if book.active:
        return book.pass_over([latest], _passed("Skipped", STILL_RUNNING))
    run = ActiveRun(
        occurrence=format_time(latest),
        name=name_run(facts.identity, latest),
        decided_at=format_time(now),
    )
    return book.begin(run)


def _find_due(
    facts: ScheduleFacts, book: Book, timetable: Timetable, now: datetime
) -> list[datetime]:
    """The occurrences after the cursor and up to now. Most of the time the status says already that
    there is none.
    """
    if book.cursor is None or book.cursor >= now:
        return []
    status = facts.status
    if status.next_run_times and status.cursor == format_time(book.cursor):
        first = datetime.fromisoformat(status.next_run_times[0])
        if now < first and status.time_zones == timetable.version:
            return []
    return timetable.between(book.cursor, now)


def _passed(phase: str, reason: str) -> PastOccurrence:
    """What is said of occurrences without a run. Which they are is filled in."""
    return PastOccurrence.model_validate(
        {"occurrence": "1970-01-01T00:00:00Z", "phase": phase, "reason": reason}
    )
