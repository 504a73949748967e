"""What people ask of a schedule by annotations: a run now, another run for an occurrence, a pause.

An annotation that asks for a run is carried out when its value changes. One that is there when the
schedule is first seen is written down and not carried out: it is in a manifest that is applied
again, or in a copy that is restored. A pause is no request but a state, and holds from the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256

from dbt_operator.api.kinds.schedule import Cause, PastOccurrence
from dbt_operator.planning.common.durations import parse_time
from dbt_operator.planning.common.names import (
    BACKFILL,
    PAUSED_UNTIL,
    RETRY,
    RUN_NOW,
    TEST_MESSAGE,
)
from dbt_operator.planning.common.plan import Event
from dbt_operator.planning.common.timetable import Timetable
from dbt_operator.planning.schedule.book import Book
from dbt_operator.planning.schedule.concurrency import Wanted, take_in
from dbt_operator.planning.schedule.facts import ScheduleFacts
from dbt_operator.planning.schedule.occurrence_messages import send_test
from dbt_operator.planning.schedule.runs import mark_request, mark_retry
from dbt_operator.planning.schedule.triggers import FAR_AWAY

FOREVER = "forever"
_DAY = 10  # characters
_LONGEST = 63  # characters of a value that is written down as it is


class AnnotationError(ValueError):
    """An annotation means nothing; the message names it and says what would."""


@dataclass(frozen=True)
class Pause:
    """What the annotation for a pause says."""

    text: str | None = None  # None: there is no annotation
    end: datetime | None = None  # None: none, or for ever

    def find_seen(self, before: str | None, now: datetime) -> datetime | None:
        """Up to when what has happened is no business of the schedule's; None if all is.

        Args:
            before: what the pause was at the last look.
            now: the time.
        """
        if self.is_in_force(now) or (before is not None and before != self.text):
            return FAR_AWAY
        return self.end if before is not None else None

    def is_in_force(self, now: datetime) -> bool:
        """Whether nothing is due now."""
        return self.text is not None and (self.end is None or now < self.end)

    def move_cursor(self, book: Book, now: datetime) -> Book:
        """With what the pause means for what has not been decided. Once it is over, what was due
        before its end is no business of anybody's; where somebody ends it, that is now.
        """
        if self.is_in_force(now):
            begins = book.paused_until is None
            return replace(book.forget_undone() if begins else book, paused_until=self.text)
        if book.paused_until is not None and book.paused_until != self.text:
            book = book.move_cursor(now)
        elif self.end is not None:
            book = book.move_cursor(self.end)
        return replace(book, paused_until=None)


def read_pause(annotations: Mapping[str, str]) -> Pause:
    """Read the annotation for a pause.

    Raises:
        AnnotationError: it is neither a time nor ``forever``.
    """
    text = annotations.get(PAUSED_UNTIL)
    if not text:
        return Pause()
    if text == FOREVER:
        return Pause(text)
    try:
        end = parse_time(text)
    except ValueError:
        end = None
    if end is None or end.tzinfo is None or len(text) > _LONGEST:
        raise AnnotationError(
            f"metadata.annotations[{PAUSED_UNTIL}]: {text[:_LONGEST]!r} is neither {FOREVER} nor a"
            " time with an offset, such as 2024-01-31T08:00:00Z"
        )
    return Pause(text, end.astimezone(UTC))


def remember_requests(annotations: Mapping[str, str], book: Book) -> Book:
    """With what annotations ask for written down, and not carried out."""
    return replace(
        book,
        last_run_now=_read(annotations, RUN_NOW),
        last_retry=_read(annotations, RETRY),
        last_backfill=_read(annotations, BACKFILL),
        last_test_message=_read(annotations, TEST_MESSAGE),
    )


def take_requests(
    facts: ScheduleFacts, book: Book, timetable: Timetable, now: datetime
) -> tuple[Book, tuple[Event, ...]]:
    """With the runs that annotations ask for, under the schedule's policy."""
    events: tuple[Event, ...] = ()
    annotations = facts.identity.annotations
    run_now, retry = _read(annotations, RUN_NOW), _read(annotations, RETRY)
    if run_now is not None and run_now != book.last_run_now:
        occurrence, start = _find_last(book, timetable, now)
        wanted = Wanted(occurrence, mark_request(run_now, now), "RunNow", start)
        book = take_in(facts, replace(book, last_run_now=run_now), wanted, now)
    if retry is not None and retry != book.last_retry:
        book = replace(book, last_retry=retry)
        past = _find_past(book, retry)
        if past is None:
            events = (_refuse_retry(retry),)
        else:
            book = take_in(facts, book, _want_again(facts, book, past), now)
    backfill = _read(annotations, BACKFILL)
    if backfill is not None and backfill != book.last_backfill:
        book = replace(book, last_backfill=backfill)
        if wrong := _find_wrong_backfill(facts, backfill):
            message = f"metadata.annotations[{BACKFILL}]: {wrong}"
            events = (*events, Event("Warning", "BackfillRefused", message))
        else:
            mark = mark_request(backfill, now, "b")
            book = take_in(facts, book, Wanted(now, mark, "Backfill", days=backfill), now)
    test = _read(annotations, TEST_MESSAGE)
    if test is not None and test != book.last_test_message:
        book = send_test(facts, replace(book, last_test_message=test), test, now)
    return book, events


def _find_wrong_backfill(facts: ScheduleFacts, days: str) -> str:
    """What is wrong with a backfill that is asked for; empty if nothing is."""
    if facts.spec.run_template is None:
        return "backfillTemplate has windows of its own: create a DbtBackfill"
    if not facts.spec.schedules:
        return "without schedules there are no occurrences to go over"
    first, slash, last = days.partition("/")
    try:
        is_range = bool(slash) and date.fromisoformat(first) <= date.fromisoformat(last)
    except ValueError:
        is_range = False
    if is_range and len(first) == len(last) == _DAY:
        return ""
    return f"{days!r} is no range of days, such as 2024-01-01/2024-01-07"


def _read(annotations: Mapping[str, str], name: str) -> str | None:
    """The value of an annotation, or what stands for it if it is long."""
    value = annotations.get(name) or None
    if value is None or len(value) <= _LONGEST:
        return value
    return f"sha256:{sha256(value.encode()).hexdigest()[:16]}"


def _find_past(book: Book, run: str) -> PastOccurrence | None:
    return next((past for past in book.history if past.run == run), None)


def _want_again(facts: ScheduleFacts, book: Book, past: PastOccurrence) -> Wanted:
    taken = {entry.name for entry in book.active} | {run.name for run in facts.ended}
    taken |= {entry.run for entry in book.history if entry.run}
    mark = mark_retry(facts.identity, past.run or "", taken)
    start = parse_time(past.start) if past.start else None
    cause: Cause = "Backfill" if past.days else "Retry"
    return Wanted(parse_time(past.occurrence), mark, cause, start, past.days)


def _find_last(book: Book, timetable: Timetable, now: datetime) -> tuple[datetime, datetime | None]:
    """The last occurrence, or the last trigger if that is later; and the start of its interval,
    where it has one of its own.
    """
    by_clock = timetable.find_before(now + timedelta(minutes=1))
    triggered = [past for past in book.history if past.cause == "Trigger"]
    last = max(triggered, key=lambda past: past.occurrence, default=None)
    if last and (by_clock is None or parse_time(last.occurrence) > by_clock):
        return parse_time(last.occurrence), parse_time(last.start) if last.start else None
    return by_clock or now, None


def _refuse_retry(run: str) -> Event:
    message = (
        f"metadata.annotations[{RETRY}]: no run {run} stands in status.history, as far as it"
        " reaches: name one that does"
    )
    return Event("Warning", "RetryRefused", message)
