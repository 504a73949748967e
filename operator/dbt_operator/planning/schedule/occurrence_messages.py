"""Who is told of what a schedule alone knows: occurrences that are late, that were missed, or whose
run never was or is lost. A run tells of its own end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from dbt_operator.api.kinds.schedule import ActiveRun, PastOccurrence
from dbt_operator.api.parts.notify import NOTIFICATIONS, EventName, Notification, Told
from dbt_operator.api.status import Reason
from dbt_operator.planning.common.durations import format_time
from dbt_operator.planning.notifying.deciding import (
    DEFAULT_EVENTS,
    End,
    decide,
    follow_series,
    make_key,
)
from dbt_operator.planning.notifying.telling import describe_end
from dbt_operator.planning.schedule.book import Book
from dbt_operator.planning.schedule.facts import ScheduleFacts
from dbt_operator.planning.schedule.runs import ScheduledRun

_REASONS = frozenset(map(str, Reason))


def hear_messages(book: Book, entry: ActiveRun, run: ScheduledRun) -> Book:
    """With what channels were told of the end of a run. One over days of the past tells nothing of
    how things stand now.
    """
    if run.status is None or entry.cause == "Backfill":
        return book
    end = describe_end(run.uid, run.status)
    return _follow(book, entry.name, end, run.status.notifications or ())


def tell(facts: ScheduleFacts, book: Book, now: datetime) -> Book:
    """With the messages about what has become known since the status was written."""
    known = facts.status.history or []
    for past in reversed([each for each in book.history if each not in known]):
        if past.phase == "Missed" and not _goes_on(past, known):
            book = _add(book, _make_wanted(facts, "Missed", past.occurrence, now))
        elif past.phase == "Failed" and not _tells_itself(facts, past):
            book = _tell_failure(facts, book, past, now)
    late, before = book.late, facts.status.late
    if late is not None and (before is None or before.occurrence != late.occurrence):
        book = _add(book, _make_wanted(facts, "Late", late.occurrence, now))
    return book


def send_test(facts: ScheduleFacts, book: Book, value: str, now: datetime) -> Book:
    """With a message to each channel that says nothing but that it works."""
    wanted = facts.listeners.wanted
    return _add(book, (_make(facts, notify.channel, "Test", now, value) for notify in wanted))


def _goes_on(past: PastOccurrence, known: list[PastOccurrence]) -> bool:
    """Whether it is an entry that was there, and has grown."""
    return any((each.phase, each.occurrence) == (past.phase, past.occurrence) for each in known)


def _tells_itself(facts: ScheduleFacts, past: PastOccurrence) -> bool:
    run = facts.runs.get(past.run or "")
    return run is not None and run.has_ended


def _tell_failure(facts: ScheduleFacts, book: Book, past: PastOccurrence, now: datetime) -> Book:
    """Of an occurrence whose run cannot tell of it."""
    reason = Reason(past.reason) if past.reason in _REASONS else Reason.UNKNOWN
    uid = f"{facts.identity.uid}/{past.occurrence}/{past.run}"
    end = End(uid, failed=True, succeeded=False, reason=reason)
    messages = [
        each.model_copy(update={"occurrence": past.occurrence})
        for each in decide(end, facts.listeners, book.series, now)
    ]
    return _follow(_add(book, messages), past.run or "", end, messages)


def _make_wanted(
    facts: ScheduleFacts, event: EventName, occurrence: str, now: datetime
) -> Iterator[Notification]:
    for notify in facts.listeners.wanted:
        if event in (notify.events or DEFAULT_EVENTS):
            message = _make(facts, notify.channel, event, now, occurrence)
            yield message.model_copy(update={"occurrence": occurrence})


def _make(
    facts: ScheduleFacts, channel: str, event: Told, now: datetime, what: str
) -> Notification:
    """A message about the schedule; ``what`` tells it from others of its event."""
    refusal = facts.listeners.refuse(channel)
    return Notification(
        channel=channel,
        event=event,
        key=make_key(facts.identity.uid, channel, event, what),
        state="Failed" if refusal else "Pending",
        message=refusal or None,
        since=format_time(now),
    )


def _follow(book: Book, run: str, end: End, messages: Iterable[Notification]) -> Book:
    return replace(book, series=tuple(follow_series(book.series, run, end, messages)))


def _add(book: Book, messages: Iterable[Notification]) -> Book:
    """With messages, the last first. What is still to be sent is not forgotten before others."""
    found = (*reversed(list(messages)), *book.notifications)
    kept = [each for each in found if each.state == "Pending"]
    others = [each for each in found if each.state != "Pending"]
    chosen = [*kept, *others][:NOTIFICATIONS]
    return replace(book, notifications=tuple(each for each in found if each in chosen))
