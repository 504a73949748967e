"""Windows: what a DbtBackfill says of them, and what its runs get of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from dbt_operator.api.base import Model, rules
from dbt_operator.api.parts.cron import Cron
from dbt_operator.api.texts import Short

# It stands in names of folders, in selections and in vars.
WindowKey = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"
    ),
    Field(
        json_schema_extra=rules(
            ("self != 'result.json'", "is the name of a file among the artifacts")
        )
    ),
]
# What a placeholder stands for: nothing that means something in JSON or in a selection.
Text = Annotated[
    str, StringConstraints(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:+/-]*$")
]
Day = Annotated[
    str, StringConstraints(min_length=10, max_length=10, pattern=r"^\d{4}-\d{2}-\d{2}$")
]
Length = Annotated[
    str, StringConstraints(min_length=2, max_length=6, pattern=r"^[1-9][0-9]{0,3}(h|d|w|mo)$")
]
DateFormat = Annotated[
    str,
    StringConstraints(
        min_length=2,
        max_length=40,
        pattern=r"^(%[YmdHMSjGVu]|[A-Za-z0-9])([A-Za-z0-9._:+/-]|%[YmdHMSjGVuz])*$",
    ),
]
AsOf = Annotated[
    str,
    StringConstraints(
        min_length=20, max_length=20, pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$"
    ),
]
Zone = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_+/-]+$")]


class RunWindow(Model):
    """A window, or a partition key, as the runs of a backfill get it."""

    key: WindowKey
    """What $(window.key) stands for, and the folder of its artifacts."""
    start: Text | None = None
    """What $(window.start) stands for in vars and selections."""
    end: Text | None = None
    """What $(window.end) stands for there."""
    date: Text | None = None
    """What $(window.date) stands for there: the day of an occurrence."""
    event_start: Text | None = None
    """What $(window.start) stands for in eventTime: in UTC."""
    event_end: Text | None = None
    """What $(window.end) stands for there."""


class WindowCounts(Model):
    """How many windows stand how."""

    total: int
    """All of them."""
    pending: int = 0
    """Not begun."""
    running: int = 0
    """At work."""
    succeeded: int = 0
    """Done."""
    failed: int = 0
    """Failed or cancelled."""
    skipped: int = 0
    """Left out: an earlier backfill has done them, or their sources had nothing new."""
    done: Short
    """Those that have ended, of all: 3/7."""
    states: Annotated[str, StringConstraints(max_length=10_000)]
    """One character for each, in their order: - pending, > running, + succeeded, ~ skipped; any
    other: failed, by its reason."""


class Dates(Model):
    """A range of days, in windows."""

    from_: Day | None = Field(default=None, alias="from")
    """The first day."""
    to: Day | None = None
    """The last day, which is part of it."""
    last: Length | None = None
    """Instead of from and to: so many whole hours (h), days (d), weeks (w, from Monday) or months
    (mo) before the one that is going on when the backfill is first looked at."""
    as_of: AsOf | None = None
    """The moment that last is seen from, RFC 3339 in UTC. Default: when the backfill is first
    looked at; in a DbtSchedule, the occurrence."""
    every: Length | None = None
    """How long a window is: 6h, 1d, 1w or 1mo. Hours must divide a day, so that windows begin at
    the same time of each. The last window is cut at the end of the range. Default: 1d."""
    timezone: Zone | None = None
    """Where days begin, by its name in the IANA database: Europe/Amsterdam. Default: UTC."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.last) != (has(self.from) || has(self.to))", "set from and to, or last"),
            ("has(self.from) == has(self.to)", "from and to belong together"),
            ("!has(self.asOf) || has(self.last)", "asOf is about last: from and to say it all"),
            (
                "!has(self.from) || !has(self.to) || self.from <= self.to",
                "to must not be before from",
            ),
            (
                (
                    "!has(self.every) || !self.every.endsWith('h')"
                    " || self.every in ['1h', '2h', '3h', '4h', '6h', '8h', '12h']"
                ),
                "windows of hours must divide a day: 1h, 2h, 3h, 4h, 6h, 8h or 12h",
            ),
            (
                (
                    "!has(self.last) || !self.last.endsWith('h') || (has(self.every) && "
                    "self.every.endsWith('h'))"
                ),
                "last in hours needs every in hours",
            ),
        )
    )


class Occurrences(Model):
    """The occurrences of a schedule on some days: each is the end of a window, which begins with
    the occurrence before it.
    """

    schedules: Annotated[list[Cron], Field(min_length=1, max_length=20)]
    """Entries of cron, as a DbtSchedule has them."""
    timezone: Zone | None = None
    """The time zone of the entries and of the days. Default: UTC."""
    from_: Day = Field(alias="from")
    """The first day."""
    to: Day
    """The last day, which is part of it."""

    model_config = ConfigDict(
        json_schema_extra=rules(("self.from <= self.to", "to must not be before from"))
    )


class Windows(Model):
    """What a backfill works through."""

    dates: Dates | None = None
    """Windows of time."""
    occurrences: Occurrences | None = None
    """Windows between the occurrences of a schedule. $(window.date) is the day of an occurrence,
    $(window.end) the occurrence itself."""
    keys: (
        Annotated[
            list[WindowKey],
            Field(
                min_length=1, max_length=1000, json_schema_extra={"x-kubernetes-list-type": "set"}
            ),
        ]
        | None
    ) = None
    """Partition keys, for example regions, in their order."""
    date_format: DateFormat | None = None
    """How a bound is written into vars and selections, with strftime's %Y %m %d %H %M %S %j %G %V
    %u %z. Default: a date for days, weeks and months, else RFC 3339."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                (
                    "[has(self.dates), has(self.occurrences), has(self.keys)]"
                    ".filter(set, set).size() == 1"
                ),
                "set exactly one of dates, occurrences and keys",
            ),
            ("!has(self.dateFormat) || !has(self.keys)", "dateFormat is about dates"),
        )
    )
