"""When a schedule is due: cron entries in a time zone, as moments in UTC.

cronsim reads the entries and knows the calendar; it is asked for wall-clock times, in no zone. What
the clock's changes mean for them is decided here, as Debian's cron does (cron(8), "Daylight Saving
Time"). An entry whose minute and hour are both fixed happens once a day: in the hour that is left
out in spring at the end of the gap, in the hour that comes twice in autumn the first time. One with
a wildcard goes by elapsed time: nothing in the gap, and both hours of autumn. (cronsim's own
arithmetic in zones is not used: it loses moments where a clock is changed by half an hour.)

Moments are whole minutes, and entries that fall on one moment are one occurrence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import tzdata
from cronsim import CronSim, CronSimError

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = 5
TIME_ZONES: str = tzdata.IANA_VERSION  # of the database that knows when clocks change
# No clock is changed by more: Samoa left a day out in 2011.
_LARGEST_CHANGE = timedelta(hours=25)
_MINUTE = timedelta(minutes=1)
# How far is looked for an occurrence: what has none in so long is a mistake, as 30 February is.
HORIZON = timedelta(days=5 * 366)


class TimetableError(ValueError):
    """An entry or a zone means nothing; the message names it and says what would."""


@dataclass(frozen=True)
class Entry:
    """An entry of cron."""

    text: str  # five fields
    # Neither its minute nor its hour begins with a star, so that it happens at a time of the day.
    is_fixed: bool

    _START: ClassVar[datetime] = datetime(2000, 1, 1)  # noqa: DTZ001 -- a wall clock in no zone

    @classmethod
    def parse(cls, text: str) -> Entry:
        """Read an entry: five fields, or a word such as @daily.

        Raises:
            TimetableError: it is none.
        """
        fields = _MACROS.get(text.strip().lower(), text).split()
        if len(fields) != _FIELDS:
            raise TimetableError(
                f"{text!r} has not five fields: minute, hour, day of month, month, day of week"
            )
        whole = " ".join(fields)
        try:
            CronSim(whole, cls._START)
        except CronSimError as error:
            raise TimetableError(f"{text!r}: {str(error).lower()}") from error
        return cls(whole, not (fields[0].startswith("*") or fields[1].startswith("*")))

    def wall_times(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """The wall-clock times after one and up to another, in no zone."""
        for moment in CronSim(self.text, after):
            if moment > until:
                return
            yield moment


@dataclass(frozen=True)
class Timetable:
    """Entries in a time zone: the moments at which a schedule is due."""

    entries: tuple[Entry, ...]
    zone: ZoneInfo

    @classmethod
    def parse(cls, entries: Sequence[str], zone: str) -> Timetable:
        """Read what a spec says.

        Raises:
            TimetableError: an entry or the zone means nothing.
        """
        parsed = []
        for place, text in enumerate(entries):
            try:
                parsed.append(Entry.parse(text))
            except TimetableError as error:
                raise TimetableError(f"spec.schedules[{place}]: {error}") from error
        return cls(tuple(parsed), _find_zone(zone))

    def find_idle(self, moment: datetime) -> int | None:
        """The place of an entry that has no occurrence in the five years after a moment; None if
        all have one.
        """
        for place, entry in enumerate(self.entries):
            if next(Timetable((entry,), self.zone).after(moment), None) is None:
                return place
        return None

    def between(self, after: datetime, until: datetime) -> list[datetime]:
        """The moments after one and up to another, the oldest first; all in UTC."""
        found: set[datetime] = set()
        first, last = self._widen(after, until)
        for entry in self.entries:
            for wall in entry.wall_times(first, last):
                found.update(self._moments_of(wall, entry))
        return sorted(moment for moment in found if after < moment <= until)

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The moments after one, the oldest first, as far as five years reach."""
        start, span = moment, timedelta(hours=1)
        while start < moment + HORIZON:
            end = min(start + span, moment + HORIZON)
            yield from self.between(start, end)
            start, span = end, span * 4

    def find_before(self, moment: datetime) -> datetime | None:
        """The last moment before one; None if there was none in five years."""
        until = moment - _MINUTE
        end, span = until, timedelta(hours=1)
        while end > until - HORIZON:
            start = max(end - span, until - HORIZON)
            if found := self.between(start, end):
                return found[-1]
            end, span = start, span * 4
        return None

    def to_local(self, moment: datetime) -> datetime:
        """A moment as the clock of the zone shows it."""
        return moment.astimezone(self.zone)

    def _widen(self, after: datetime, until: datetime) -> tuple[datetime, datetime]:
        """Wall-clock times between which all lie whose moments are between these two."""
        first, last = self._show(after), self._show(until)
        if until - after > _LARGEST_CHANGE:
            return first - _LARGEST_CHANGE, last + _LARGEST_CHANGE
        around = (after - _LARGEST_CHANGE, after, until, until + _LARGEST_CHANGE)
        near = [self._show(moment) - moment.replace(tzinfo=None) for moment in around]
        change = max(near) - min(near)
        return first - change, last + change

    def _show(self, moment: datetime) -> datetime:
        return moment.astimezone(self.zone).replace(tzinfo=None)

    def _moments_of(self, wall: datetime, entry: Entry) -> Iterator[datetime]:
        """When the clock shows this, or what stands for it where the clock leaves it out."""
        while not (found := self._resolve(wall)):
            if not entry.is_fixed:
                return
            wall += _MINUTE
        yield from found[:1] if entry.is_fixed else found

    def _resolve(self, wall: datetime) -> list[datetime]:
        """The moments at which the clock of the zone shows this: one, two, or none."""
        both = {wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
        return sorted(moment for moment in both if self._show(moment) == wall)


@lru_cache(maxsize=4096)
def _find_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise TimetableError(
            f"spec.timezone: {name!r} is no time zone of the IANA database, such as"
            " Europe/Amsterdam"
        ) from error
