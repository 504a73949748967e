"""Whether a schedule has succeeded in time: ``finishWithin`` and ``finishAt``.

What counts is that data are there, and not why they are not: an occurrence that was skipped,
missed, cancelled, or whose run has failed is late like one whose run takes too long. A success of a
later occurrence makes up for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from dbt_operator.api.kinds.schedule import DbtScheduleSpec, LateOccurrence, PastOccurrence
from dbt_operator.api.status import Reason
from dbt_operator.planning.common.durations import format_time, parse_time, seconds
from dbt_operator.planning.common.timetable import Entry, Timetable
from dbt_operator.planning.schedule.book import Book

_DUE = (None, "Trigger")  # causes of what is due; what somebody asks for comes on top of it


@dataclass(frozen=True)
class Punctuality:
    """When the next success is due, and what is late."""

    expected_finish: datetime | None = None
    late: LateOccurrence | None = None

    def find_wait(self, now: datetime) -> timedelta | None:
        """How long it takes until something may be late that is not."""
        if self.late is not None or self.expected_finish is None:
            return None
        return max(self.expected_finish - now, timedelta(0))


def is_judged(spec: DbtScheduleSpec) -> bool:
    """Whether the schedule says when it is to have succeeded."""
    return spec.finish_within is not None or spec.finish_at is not None


def judge(
    spec: DbtScheduleSpec,
    book: Book,
    timetable: Timetable,
    following: datetime | None,
    now: datetime,
) -> Punctuality:
    """Judge a schedule.

    Args:
        spec: of the schedule.
        book: what it has decided.
        timetable: when it is due.
        following: its next occurrence.
        now: the time.
    """
    if not is_judged(spec):
        return Punctuality()
    awaited = min(_find_awaited(book, timetable), default=None)
    if awaited is None:
        return Punctuality(following and _find_finish(spec, timetable.zone, following))
    due = _find_finish(spec, timetable.zone, awaited)
    if now < due:
        return Punctuality(due)
    late = LateOccurrence(occurrence=format_time(awaited), since=format_time(due))
    return Punctuality(due, late)


def _find_finish(spec: DbtScheduleSpec, zone: ZoneInfo, occurrence: datetime) -> datetime:
    """When an occurrence is to have succeeded."""
    if spec.finish_within is not None:
        return occurrence + timedelta(seconds=seconds(spec.finish_within))
    return next(_read_clock_time(spec.finish_at or "", zone).after(occurrence))


@lru_cache(maxsize=4096)
def _read_clock_time(text: str, zone: ZoneInfo) -> Timetable:
    """Each time at which the clock shows this, once a day."""
    hour, minute = text.removeprefix("T").split(":")
    return Timetable((Entry.parse(f"{int(minute)} {int(hour)} * * *"),), zone)


def _find_awaited(book: Book, timetable: Timetable) -> Iterator[datetime]:
    """The occurrences that have been decided and have not succeeded, nor a later one; as far as the
    history reaches, the oldest of them among them.
    """
    done = _find_done(book)
    known = [run.occurrence for run in book.active if run.cause in _DUE]
    known += [book.waiting.occurrence] if book.waiting and book.waiting.cause in _DUE else []
    known += [book.backlog.first] if book.backlog else []
    known += [book.late.occurrence] if book.late else []  # the history may not reach back to it
    yield from (moment for moment in map(parse_time, known) if not done or moment > done)
    for past in book.history:
        if past.cause in _DUE:
            yield from _find_awaited_of(past, done, timetable)


def _find_awaited_of(
    past: PastOccurrence, done: datetime | None, timetable: Timetable
) -> Iterator[datetime]:
    """The oldest awaited occurrence of an entry of the history."""
    first, last = parse_time(past.occurrence), parse_time(past.until or past.occurrence)
    if done is None or first > done:
        yield first
    elif last > done:
        yield next(iter(timetable.between(done, last)), last)


def _find_done(book: Book) -> datetime | None:
    """The latest occurrence that has succeeded, or had nothing to do."""
    fresh = [
        past.occurrence
        for past in book.history
        if past.run and past.phase == "Skipped" and past.reason == Reason.NOT_FRESH
    ]
    done = [*fresh, *filter(None, [book.last_success_occurrence])]
    return max(map(parse_time, done), default=None)
