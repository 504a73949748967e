"""Which occurrences are due, and what is done about them: ``catchUp``, ``startingDeadline`` and
``concurrencyPolicy``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from dbt_operator.api.kinds.schedule import (
    BACKLOG,
    ActiveRun,
    Backlog,
    DbtScheduleSpec,
    PastOccurrence,
    WaitingOccurrence,
)
from dbt_operator.planning.common.durations import format_time, parse_time, seconds
from dbt_operator.planning.schedule.book import Book
from dbt_operator.planning.schedule.facts import ScheduleFacts
from dbt_operator.planning.schedule.runs import name_run
from dbt_operator.planning.schedule.timetable import TIME_ZONES, Timetable

STILL_RUNNING = "StillRunning"
SUPERSEDED = "Superseded"  # by a later one, while it waited
NOT_IN_TIME = "NotInTime"
# What is noticed within this time is not late: a takeover and a busy operator take less.
ON_TIME = timedelta(minutes=5)
_MINUTE = timedelta(minutes=1)
_NO_DEADLINE = timedelta.max


def find_deadline(spec: DbtScheduleSpec) -> timedelta:
    """For how long after an occurrence its run may be created."""
    text = spec.starting_deadline
    return timedelta(seconds=seconds(text)) if text else _NO_DEADLINE


def decide(facts: ScheduleFacts, book: Book, timetable: Timetable, now: datetime) -> Book:
    """With everything that is due by now decided, and what waits begun where it can be."""
    decision = _Decision(facts, timetable, now)
    due = decision.find_due(book)
    if due:
        book = decision.take_in(book.move_cursor(due[-1]), due)
    return decision.begin_next(book)


@dataclass(frozen=True)
class _Decision:
    facts: ScheduleFacts
    timetable: Timetable
    now: datetime

    def find_due(self, book: Book) -> list[datetime]:
        """The occurrences after the cursor and up to now. Most of the time the status says already
        that there is none.
        """
        if book.cursor is None or book.cursor >= self.now:
            return []
        status = self.facts.status
        if status.next_run_times and status.cursor == format_time(book.cursor):
            first = parse_time(status.next_run_times[0])
            if self.now < first and status.time_zones == TIME_ZONES:
                return []
        return self.timetable.between(book.cursor, self.now)

    def take_in(self, book: Book, due: list[datetime]) -> Book:
        """With what has come due where it belongs: before others, behind a run, or passed over."""
        spec = self.facts.spec
        if spec.catch_up == "All" and (len(due) > 1 or book.backlog or self._is_behind(book)):
            return self._add_to_backlog(book, due)
        *missed, latest = due
        if self._is_too_late(latest):
            return _miss(book, due)
        book = _miss(book, missed)
        if not book.active and not book.waiting:
            return self._begin(book, latest)
        if spec.concurrency_policy not in ("Queue", "Replace"):
            return _skip(book, format_time(latest), STILL_RUNNING)
        if book.waiting:
            book = _skip(book, book.waiting.occurrence, SUPERSEDED)
        if spec.concurrency_policy == "Replace":
            book = book.replace_active()
        waiting = WaitingOccurrence(occurrence=format_time(latest), since=format_time(self.now))
        return replace(book, waiting=waiting)

    def begin_next(self, book: Book) -> Book:
        """With the next of what waits begun, if no run is at work."""
        while not book.active and (book.backlog or book.waiting):
            if book.backlog:
                occurrence, rest = self._take_first(book.backlog)
                book = replace(book, backlog=rest)
            else:
                occurrence = parse_time(book.waiting.occurrence) if book.waiting else self.now
                book = replace(book, waiting=None)
            if self.now - occurrence > find_deadline(self.facts.spec):
                book = _miss(book, [occurrence])
            else:
                book = self._begin(book, occurrence)
        return book

    def _is_behind(self, book: Book) -> bool:
        """Whether what is at work is made up for."""
        return any(
            parse_time(run.decided_at) - parse_time(run.occurrence) > ON_TIME for run in book.active
        )

    def _is_too_late(self, occurrence: datetime) -> bool:
        spec = self.facts.spec
        limit = find_deadline(spec)
        if spec.catch_up == "None":
            limit = min(limit, ON_TIME)
        return self.now - occurrence > limit

    def _add_to_backlog(self, book: Book, due: list[datetime]) -> Book:
        """With what is to be made up for: the latest hundred of what is not too late. What waits is
        the one before all that has come due, and so the first of them.
        """
        waiting = [parse_time(book.waiting.occurrence)] if book.waiting else []
        old = self._list(book.backlog) if book.backlog else []
        whole = old + waiting + due
        book = replace(book, waiting=None)
        kept = [each for each in whole if not self._is_too_late(each)][-BACKLOG:]
        book = _miss(book, whole[: len(whole) - len(kept)])
        return replace(book, backlog=_make_backlog(kept))

    def _take_first(self, backlog: Backlog) -> tuple[datetime, Backlog | None]:
        first, *rest = self._list(backlog)
        return first, _make_backlog(rest)

    def _list(self, backlog: Backlog) -> list[datetime]:
        return self.timetable.between(
            parse_time(backlog.first) - _MINUTE, parse_time(backlog.last)
        ) or [parse_time(backlog.first)]

    def _begin(self, book: Book, occurrence: datetime) -> Book:
        run = ActiveRun(
            occurrence=format_time(occurrence),
            name=name_run(self.facts.identity, occurrence),
            decided_at=format_time(self.now),
        )
        return book.begin(run)


def _make_backlog(occurrences: list[datetime]) -> Backlog | None:
    if not occurrences:
        return None
    return Backlog(
        first=format_time(occurrences[0]),
        last=format_time(occurrences[-1]),
        count=len(occurrences),
    )


def make_missed(occurrence: str) -> PastOccurrence:
    """What is said of an occurrence that nobody could begin in time."""
    return PastOccurrence(occurrence=occurrence, phase="Missed", reason=NOT_IN_TIME)


def _miss(book: Book, occurrences: list[datetime]) -> Book:
    if not occurrences:
        return book
    return book.pass_over(occurrences, make_missed(format_time(occurrences[0])))


def _skip(book: Book, occurrence: str, reason: str) -> Book:
    past = PastOccurrence(occurrence=occurrence, phase="Skipped", reason=reason)
    return book.pass_over([parse_time(occurrence)], past)
