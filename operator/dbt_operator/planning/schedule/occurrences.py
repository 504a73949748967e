"""Which occurrences are due, and which of them are made up for: ``catchUp``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from dbt_operator.api.kinds.schedule import BACKLOG, Backlog
from dbt_operator.planning.common.durations import format_time, parse_time
from dbt_operator.planning.common.timetable import TIME_ZONES, Timetable
from dbt_operator.planning.schedule.book import Book
from dbt_operator.planning.schedule.concurrency import (
    Wanted,
    begin_waiting,
    find_deadline,
    make_entry,
    miss,
    take_in,
)
from dbt_operator.planning.schedule.facts import ScheduleFacts
from dbt_operator.planning.schedule.runs import mark_occurrence

# What is noticed within this time is not late: a takeover and a busy operator take less.
ON_TIME = timedelta(minutes=5)
_MINUTE = timedelta(minutes=1)


def decide(facts: ScheduleFacts, book: Book, timetable: Timetable, now: datetime) -> Book:
    """With everything that is due by now decided."""
    decision = _Decision(facts, timetable, now)
    due = decision.find_due(book)
    return decision.take_in(book.move_cursor(due[-1]), due) if due else book


def begin_next(facts: ScheduleFacts, book: Book, timetable: Timetable, now: datetime) -> Book:
    """With the next of what waits begun, if no run is at work."""
    return _Decision(facts, timetable, now).begin_next(book)


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
            return miss(book, due)
        book = miss(book, missed)
        return take_in(self.facts, book, self._want(latest), self.now)

    def begin_next(self, book: Book) -> Book:
        """With the next of what waits begun, if no run is at work."""
        while not book.active and (book.backlog or book.waiting):
            waiting = book.waiting
            if waiting and (waiting.cause or not book.backlog):  # nobody waits behind a hundred
                book = begin_waiting(self.facts, book, waiting, self.now)
            elif book.backlog:
                occurrence, rest = self._take_first(book.backlog)
                book = self._make_up_for(replace(book, backlog=rest), occurrence)
        return book

    def _make_up_for(self, book: Book, occurrence: datetime) -> Book:
        if self.now - occurrence > find_deadline(self.facts.spec):
            return miss(book, [occurrence])
        return book.begin(make_entry(self.facts, self._want(occurrence), self.now))

    def _want(self, occurrence: datetime) -> Wanted:
        return Wanted(occurrence, mark_occurrence(occurrence))

    def _is_behind(self, book: Book) -> bool:
        """Whether what is at work is made up for."""
        return any(
            run.cause is None and parse_time(run.decided_at) - parse_time(run.occurrence) > ON_TIME
            for run in book.active
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
        by_clock = book.waiting if book.waiting and not book.waiting.cause else None
        waiting = [parse_time(by_clock.occurrence)] if by_clock else []
        old = self._list(book.backlog) if book.backlog else []
        whole = old + waiting + due
        if by_clock:
            book = replace(book, waiting=None)
        kept = [each for each in whole if not self._is_too_late(each)][-BACKLOG:]
        book = miss(book, whole[: len(whole) - len(kept)])
        return replace(book, backlog=_make_backlog(kept))

    def _take_first(self, backlog: Backlog) -> tuple[datetime, Backlog | None]:
        first, *rest = self._list(backlog)
        return first, _make_backlog(rest)

    def _list(self, backlog: Backlog) -> list[datetime]:
        return self.timetable.between(
            parse_time(backlog.first) - _MINUTE, parse_time(backlog.last)
        ) or [parse_time(backlog.first)]


def _make_backlog(occurrences: list[datetime]) -> Backlog | None:
    if not occurrences:
        return None
    return Backlog(
        first=format_time(occurrences[0]),
        last=format_time(occurrences[-1]),
        count=len(occurrences),
    )
