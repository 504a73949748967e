"""What a run follows on: successes of others.

Level-triggered: what counts is the last success that there is, against the last one that has been
seen. So none is lost by a restart, what comes while a run is at work is followed by one run, and
what was there before the schedule is no trigger.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from dbt_operator.api.kinds.schedule import DbtScheduleSpec, Success, Triggered, TriggerStatus
from dbt_operator.planning.common.durations import format_time, parse_time, seconds
from dbt_operator.planning.schedule.book import Book
from dbt_operator.planning.schedule.concurrency import Wanted, make_entry
from dbt_operator.planning.schedule.facts import ScheduleFacts
from dbt_operator.planning.schedule.runs import mark_trigger
from dbt_operator.planning.schedule.signals import Signal

_DEBOUNCE = 10  # seconds
FAR_AWAY = datetime.max.replace(tzinfo=UTC)


def see_signals(book: Book, signals: Iterable[Signal], until: datetime = FAR_AWAY) -> Book:
    """With everything up to a moment counting as seen, and no run to follow on it. By default it is
    all that there is, also what a clock that is ahead of ours says will be.
    """
    known = {each.name: each for each in book.triggers}
    seen = tuple(_see(known.get(signal.name), signal, until) for signal in signals)
    return replace(book, triggers=seen, triggered=None)


def hear_signals(facts: ScheduleFacts, book: Book, now: datetime) -> Book:
    """With a run that is to follow on what has not been seen yet."""
    if book.triggered is not None or not _find_news(book, facts.signals):
        return book
    return replace(book, triggered=Triggered(since=format_time(now)))


def follow_triggers(facts: ScheduleFacts, book: Book, now: datetime) -> Book:
    """With the run begun that follows on triggers, if its time has come and no other is at work."""
    due = find_due(facts.spec, book)
    if due is None or now < due:
        return book
    if book.active:
        return book.replace_active() if facts.spec.concurrency_policy == "Replace" else book
    if book.waiting or book.backlog:
        return book
    news = _find_news(book, facts.signals)
    before = [parse_time(each.seen.completion_time) for each in book.triggers if each.seen]
    book = see_signals(book, facts.signals)
    if not news:  # what has triggered it is gone
        return book
    latest = max(parse_time(each.completion_time) for each in news)
    mark = mark_trigger(f"{each.uid} {each.completion_time}" for each in news)
    start = max((each for each in before if each < latest), default=None)
    return book.begin(make_entry(facts, Wanted(latest, mark, "Trigger", start), now))


def follows_jobs(spec: DbtScheduleSpec) -> bool:
    """Whether a schedule follows on Jobs of others."""
    return any(trigger.after_job is not None for trigger in spec.triggers or ())


def find_due(spec: DbtScheduleSpec, book: Book) -> datetime | None:
    """When the run that follows on triggers may begin; None where none is to follow."""
    if book.triggered is None:
        return None
    debounce = seconds(spec.debounce) if spec.debounce else _DEBOUNCE
    return parse_time(book.triggered.since) + timedelta(seconds=debounce)


def _find_news(book: Book, signals: Iterable[Signal]) -> list[Success]:
    """The successes that nothing has followed on yet."""
    known = {each.name: each.seen for each in book.triggers}
    return [
        signal.success
        for signal in signals
        if signal.success and _is_later(signal.success, known.get(signal.name))
    ]


def _is_later(success: Success, seen: Success | None) -> bool:
    if seen is None:
        return True
    return parse_time(success.completion_time) > parse_time(seen.completion_time)


def _see(known: TriggerStatus | None, signal: Signal, until: datetime) -> TriggerStatus:
    """What has been seen of a trigger, with its success up to a moment."""
    seen, success = known.seen if known else None, signal.success
    if success and _is_later(success, seen) and parse_time(success.completion_time) <= until:
        seen = success
    return TriggerStatus(name=signal.name, seen=seen)
