"""When clocks show what: found minute by minute, without any reader of cron entries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
FIRST, LAST = datetime(2025, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
ZONES = (
    "Europe/Amsterdam",
    "America/New_York",
    "Australia/Lord_Howe",  # changes its clocks by half an hour
    "America/Santiago",  # changes them at midnight
    "Asia/Kolkata",
    "Asia/Kathmandu",  # never changes them, and is 45 minutes off the full hour
)


@dataclass(frozen=True)
class Shape:
    """An entry of cron, and what it means."""

    entry: str
    matches: Callable[[datetime], bool]  # a wall-clock time
    is_fixed: bool  # it happens at times of the day, not by elapsed time


SHAPES = (
    Shape("30 2 * * *", lambda wall: (wall.hour, wall.minute) == (2, 30), is_fixed=True),
    Shape("@daily", lambda wall: (wall.hour, wall.minute) == (0, 0), is_fixed=True),
    Shape("0,20,40 1-3 * * *", lambda w: w.hour in (1, 2, 3) and w.minute % 20 == 0, is_fixed=True),
    Shape("15 1 * * SUN", lambda w: (w.weekday(), w.hour, w.minute) == (6, 1, 15), is_fixed=True),
    Shape("*/15 * * * *", lambda wall: wall.minute % 15 == 0, is_fixed=False),
    Shape("*/10 2 * * *", lambda wall: wall.hour == 2 and wall.minute % 10 == 0, is_fixed=False),
    Shape("5 */2 * * *", lambda wall: wall.hour % 2 == 0 and wall.minute == 5, is_fixed=False),
)


@cache
def find_edges(zone: str) -> list[datetime]:
    """The moments in two years at which clocks are changed; one without a change, if none is."""
    where, found, moment = ZoneInfo(zone), [], FIRST
    while moment < LAST:
        if _offset(moment, where) != _offset(moment + HOUR, where):
            edge = moment
            while _offset(edge, where) == _offset(moment, where):
                edge += MINUTE
            found.append(edge)
        moment += HOUR
    return found or [datetime(2025, 3, 30, 1, tzinfo=UTC)]


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta | None:
    return moment.astimezone(zone).utcoffset()


def enumerate_moments(shape: Shape, zone: str, after: datetime, until: datetime) -> list[datetime]:
    """The moments after one and up to another at which something of a shape is due.

    Something fixed is due when a clock first shows its time, and if the clock goes over it without
    showing it, when it has.
    """
    where, found = ZoneInfo(zone), []
    moment = after + MINUTE
    before = _wall(after, where)
    while moment <= until:
        wall = _wall(moment, where)
        shown = [wall]
        if shape.is_fixed:
            is_second_time = moment.astimezone(where).fold == 1
            left_out = int((wall - before) / MINUTE) - 1
            shown = [] if is_second_time else [wall - n * MINUTE for n in range(left_out + 1)]
        if any(shape.matches(each) for each in shown):
            found.append(moment)
        before, moment = wall, moment + MINUTE
    return found


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None)
