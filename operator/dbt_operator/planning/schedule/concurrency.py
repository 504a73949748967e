"""What becomes of a run that is wanted while another one has not ended: ``concurrencyPolicy``; and
``startingDeadline``, past which it is missed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from dbt_operator.api.kinds.schedule import (
    ActiveRun,
    Cause,
    DbtScheduleSpec,
    PastOccurrence,
    WaitingOccurrence,
)
from dbt_operator.planning.common.durations import format_time, parse_time, seconds
from dbt_operator.planning.schedule.book import Book
from dbt_operator.planning.schedule.facts import ScheduleFacts
from dbt_operator.planning.schedule.runs import kind_of, make_name, mark_occurrence

STILL_RUNNING = "StillRunning"
SUPERSEDED = "Superseded"  # by a later one, while it waited
NOT_IN_TIME = "NotInTime"
_NO_DEADLINE = timedelta.max


@dataclass(frozen=True)
class Wanted:
    """A run that is to begin."""

    occurrence: datetime
    mark: str  # how the name of its run ends
    cause: Cause | None = None  # who asks for it, where it is not the clock
    start: datetime | None = None  # of its interval, if not the occurrence before
    days: str | None = None  # of a backfill that somebody asks for


def find_deadline(spec: DbtScheduleSpec) -> timedelta:
    """For how long after an occurrence its run may be created."""
    text = spec.starting_deadline
    return timedelta(seconds=seconds(text)) if text else _NO_DEADLINE


def is_past_deadline(spec: DbtScheduleSpec, entry: ActiveRun, now: datetime) -> bool:
    """Whether it is too late to create a run. What was asked for counts from when it was."""
    since = entry.decided_at if entry.cause else entry.occurrence
    return now - parse_time(since) > find_deadline(spec)


def take_in(facts: ScheduleFacts, book: Book, wanted: Wanted, now: datetime) -> Book:
    """With a run that begins, waits, or is skipped."""
    spec = facts.spec
    if not book.active and not book.waiting:
        return book.begin(make_entry(facts, wanted, now))
    if spec.concurrency_policy not in ("Queue", "Replace"):
        return skip(book, wanted.occurrence, STILL_RUNNING, wanted.cause)
    if book.waiting:
        before = book.waiting
        book = skip(book, parse_time(before.occurrence), SUPERSEDED, before.cause)
    if spec.concurrency_policy == "Replace":
        book = book.replace_active()
    waiting = WaitingOccurrence(
        occurrence=format_time(wanted.occurrence),
        start=format_time(wanted.start) if wanted.start else None,
        cause=wanted.cause,
        mark=wanted.mark if wanted.cause else None,
        days=wanted.days,
        since=format_time(now),
    )
    return replace(book, waiting=waiting)


def begin_waiting(
    facts: ScheduleFacts, book: Book, waiting: WaitingOccurrence, now: datetime
) -> Book:
    """With what has waited begun, unless it is too late."""
    occurrence, book = parse_time(waiting.occurrence), replace(book, waiting=None)
    since = parse_time(waiting.since) if waiting.cause else occurrence
    if now - since > find_deadline(facts.spec):
        return miss(book, [occurrence], waiting.cause)
    mark = waiting.mark or mark_occurrence(occurrence)
    start = parse_time(waiting.start) if waiting.start else None
    wanted = Wanted(occurrence, mark, waiting.cause, start, waiting.days)
    return book.begin(make_entry(facts, wanted, now))


def make_entry(facts: ScheduleFacts, wanted: Wanted, now: datetime) -> ActiveRun:
    """What is written down of a run that is to be created."""
    kind = kind_of(facts.spec, wanted.days)
    return ActiveRun(
        occurrence=format_time(wanted.occurrence),
        start=format_time(wanted.start) if wanted.start else None,
        cause=wanted.cause,
        kind=kind,
        name=make_name(facts.identity, kind, wanted.mark),
        days=wanted.days,
        decided_at=format_time(now),
    )


def make_missed(occurrence: str, cause: Cause | None = None) -> PastOccurrence:
    """What is said of an occurrence that nobody could begin in time."""
    return PastOccurrence(occurrence=occurrence, cause=cause, phase="Missed", reason=NOT_IN_TIME)


def miss(book: Book, occurrences: list[datetime], cause: Cause | None = None) -> Book:
    """With occurrences that nobody could begin in time."""
    if not occurrences:
        return book
    return book.pass_over(occurrences, make_missed(format_time(occurrences[0]), cause))


def skip(book: Book, occurrence: datetime, reason: str, cause: Cause | None = None) -> Book:
    """With an occurrence that has no run, as ``concurrencyPolicy`` says."""
    past = PastOccurrence(
        occurrence=format_time(occurrence), cause=cause, phase="Skipped", reason=reason
    )
    return book.pass_over([occurrence], past)
