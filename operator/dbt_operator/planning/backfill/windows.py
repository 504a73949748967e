"""The windows of a backfill, from its dates or keys. Pure: the time comes in from outside, and once
only.

Days, weeks and months begin at midnight in the backfill's time zone, so when the clocks change a
day has 23 or 25 hours. Windows of hours begin whenever the clock there shows a multiple of them: an
hour that comes twice makes two windows, one that never comes makes none. In any case windows follow
on each other without a gap and without an overlap, and the last one is cut at the end of the range.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dbt_operator.api.kinds.backfill import Definition
from dbt_operator.api.parts.windows import Dates
from dbt_operator.planning.common.durations import format_time, parse_time
from dbt_operator.planning.common.timetable import Timetable, TimetableError

LARGEST = 10_000  # windows in a backfill
_MINUTE = timedelta(minutes=1)

_EVENT_TIME = "%Y-%m-%dT%H:%M:%S"  # as dbt takes it, in UTC


class WindowsError(ValueError):
    """There are no such windows; the message names the field and the remedy."""


@dataclass(frozen=True)
class Window:
    """A part of the range, or a partition key. What it says of time is text, as it is written into
    a run.
    """

    key: str  # unique in the backfill, usable in the name of a folder
    start: str = ""  # as vars get it
    end: str = ""  # likewise; not part of the window
    event_start: str = ""  # as dbt's --event-time-start takes it
    event_end: str = ""
    date: str = ""  # the day of an occurrence


@dataclass(frozen=True)
class Span:
    """Whole days, or whole hours, in a time zone. The end is not part of it."""

    start: datetime
    end: datetime


def span(dates: Dates, now: datetime) -> Span:
    """The range that dates mean, seen from now, or from the moment that they name.

    Raises:
        WindowsError: the time zone is not known, or the days do not exist.
    """
    zone = _zone(dates.timezone)
    if dates.last is not None:
        seen_from = _read_moment(dates.as_of) if dates.as_of else now
        return _last(dates.last, seen_from.astimezone(zone))
    try:
        first, last = date.fromisoformat(dates.from_ or ""), date.fromisoformat(dates.to or "")
        following = last + timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise WindowsError(
            f"spec.windows.dates: from and to must be days of the calendar: {error}"
        ) from error
    return Span(_midnight(first, zone), _midnight(following, zone))


@lru_cache(maxsize=8)  # ten thousand windows take a few MB, and take a while to be cut
def cut(dates: Dates, start: str, end: str, date_format: str = "") -> tuple[Window, ...]:
    """A range, given in RFC 3339, in windows, the oldest first.

    Raises:
        WindowsError: there are none or too many of them, or two of them would have the same text.
    """
    zone, count, unit = _zone(dates.timezone), *_parts(dates.every or "1d")
    begin, over = (datetime.fromisoformat(each).astimezone(UTC) for each in (start, end))
    bounds: list[datetime] = []
    for bound in _bounds(begin.astimezone(zone), count, unit):
        moment = bound.astimezone(UTC)
        if moment >= over or len(bounds) > LARGEST:
            break
        if not bounds or moment > bounds[-1]:  # a day that the zone left out has no length
            bounds.append(moment)
    if not bounds:
        raise WindowsError("spec.windows.dates: the range is empty: to must not be before from")
    if len(bounds) > LARGEST:
        raise WindowsError(
            f"spec.windows: more than {LARGEST} windows: make every longer, or the range shorter"
        )
    found = tuple(_window(*pair, zone, unit, date_format) for pair in pairwise([*bounds, over]))
    if len({window.start for window in found}) < len(found) and date_format:
        raise WindowsError(
            f"spec.windows.dateFormat: {date_format} writes the bounds of different windows in the "
            "same way:"
            " add what tells them apart, such as %H or %z"
        )
    return found


def _zone(name: str | None) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise WindowsError(
            f"spec.windows.dates.timezone: {name} is not a time zone of the IANA database, such as "
            "Europe/Amsterdam"
        ) from error


def _read_moment(text: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError as error:
        raise WindowsError(f"spec.windows.dates.asOf: {text} is no moment: {error}") from error


def _parts(length: str) -> tuple[int, str]:
    """``6h`` as 6 and h."""
    number = length.rstrip("hdwmo")
    return int(number), length[len(number) :]


def _last(length: str, now: datetime) -> Span:
    """The whole hours, days, weeks (from Monday) or months before the one that is going on."""
    count, unit = _parts(length)
    zone = now.tzinfo
    if unit == "h":
        # By elapsed time, as an hour may come twice; from where the clock there showed a full one.
        end = now.astimezone(UTC) - timedelta(
            minutes=now.minute, seconds=now.second, microseconds=now.microsecond
        )
        return Span((end - timedelta(hours=count)).astimezone(zone), end.astimezone(zone))
    today = now.date()
    last = {"d": today, "w": today - timedelta(days=today.weekday()), "mo": today.replace(day=1)}[
        unit
    ]
    assert isinstance(zone, ZoneInfo)  # noqa: S101 - span has made it so
    return Span(_midnight(_plus(last, -count, unit), zone), _midnight(last, zone))


def _plus(day: date, count: int, unit: str) -> date:
    """Some days, weeks or months later; the 31st becomes the last day of a shorter month."""
    if unit != "mo":
        return day + timedelta(days=count * (7 if unit == "w" else 1))
    months = day.year * 12 + day.month - 1 + count
    year, month = divmod(months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """When a day begins: the first of two midnights, or the moment when the clock skipped it."""
    return datetime.combine(day, time(), zone).astimezone(UTC).astimezone(zone)


def _bounds(start: datetime, count: int, unit: str) -> Iterator[datetime]:
    """Where windows begin, from the start of the range on, for ever. Counted from the start, so the
    end of a long month comes back after a short one.
    """
    if unit == "h":
        yield from _hours(start, count)
        return
    zone, number = start.tzinfo, 0
    assert isinstance(zone, ZoneInfo)  # noqa: S101 - cut has made it so
    while True:
        yield _midnight(_plus(start.date(), number * count, unit), zone)
        number += 1


def _hours(start: datetime, count: int) -> Iterator[datetime]:
    """Where the clock shows a multiple of so many hours, and where a day begins without its first
    hour.
    """
    yield start
    for before, local in pairwise(_clock(start)):
        skipped = local.date() > before.date() and local.hour > 0
        if (local.minute == 0 and local.hour % count == 0) or skipped:
            yield local


def _clock(start: datetime) -> Iterator[datetime]:
    """Moments among which is every full hour: where the clock changes every quarter, as it may
    change by that.
    """
    local = start
    while True:
        yield local
        moment = local.astimezone(UTC)
        following = (moment + timedelta(hours=1)).astimezone(start.tzinfo)
        if local.minute or following.utcoffset() != local.utcoffset():
            following = (moment + timedelta(minutes=15)).astimezone(start.tzinfo)
        local = following


def _window(start: datetime, end: datetime, zone: ZoneInfo, unit: str, date_format: str) -> Window:
    first, over = start.astimezone(zone), end.astimezone(zone)
    whole = unit != "h"
    key = first.strftime("%Y-%m-%d" if whole else "%Y-%m-%dT%H")
    if not whole and first.minute:
        key += first.strftime(".%M")
    if not whole and first.fold:
        key += ".2"  # the hour that comes a second time
    return Window(
        key=key,
        start=_text(first, whole=whole, date_format=date_format),
        end=_text(over, whole=whole, date_format=date_format),
        event_start=start.strftime(_EVENT_TIME),
        event_end=end.strftime(_EVENT_TIME),
    )


def _text(moment: datetime, *, whole: bool, date_format: str) -> str:
    if date_format:
        return moment.strftime(date_format)
    return moment.date().isoformat() if whole else moment.isoformat(timespec="seconds")


def windows_of(definition: Definition) -> tuple[Window, ...]:
    """The windows of a backfill, in the order of time or as the keys are given.

    Raises:
        WindowsError: there are none.
    """
    windows = definition.windows
    if windows.keys:
        return tuple(Window(key) for key in windows.keys)
    if definition.start is None or definition.end is None:
        raise WindowsError("spec.windows: set exactly one of dates, occurrences and keys")
    date_format = windows.date_format or ""
    if windows.occurrences is not None:
        when = windows.occurrences
        entries, zone = tuple(when.schedules), when.timezone or "UTC"
        return cut_at(entries, zone, (definition.start, definition.end), date_format)
    if windows.dates is None:
        raise WindowsError("spec.windows: set exactly one of dates, occurrences and keys")
    return cut(windows.dates, definition.start, definition.end, date_format)


@lru_cache(maxsize=8)
def cut_at(
    entries: tuple[str, ...], zone: str, days: tuple[str, str], date_format: str = ""
) -> tuple[Window, ...]:
    """The windows that end with the occurrences of a range, given in RFC 3339, the oldest first.

    Raises:
        WindowsError: there are none or too many of them, or an entry means nothing.
    """
    try:
        timetable = Timetable.parse(entries, zone)
    except TimetableError as error:
        text = str(error).replace("spec.", "spec.windows.occurrences.", 1)
        raise WindowsError(text) from error
    first, over = (datetime.fromisoformat(each).astimezone(UTC) for each in days)
    found = timetable.between(first - _MINUTE, over - _MINUTE)
    if not found:
        raise WindowsError("spec.windows.occurrences: there is none on these days")
    if len(found) > LARGEST:
        raise WindowsError(f"spec.windows: more than {LARGEST} windows: make the range shorter")
    bounds = [timetable.find_before(found[0]) or found[0], *found]
    return tuple(_window_at(*pair, timetable, date_format) for pair in pairwise(bounds))


def _window_at(start: datetime, end: datetime, timetable: Timetable, date_format: str) -> Window:
    local = timetable.to_local(end)

    def write(moment: datetime) -> str:
        if date_format:
            return timetable.to_local(moment).strftime(date_format)
        return format_time(moment)

    return Window(
        key=end.strftime("%Y-%m-%dT%H%MZ"),
        start=write(start),
        end=write(end),
        date=local.date().isoformat(),
        event_start=start.strftime(_EVENT_TIME),
        event_end=end.strftime(_EVENT_TIME),
    )
