"""The windows of a backfill."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbt_operator.api.kinds.backfill import Definition
from dbt_operator.api.parts.windows import Dates, Occurrences, Windows
from dbt_operator.planning.backfill.windows import (
    LARGEST,
    Window,
    WindowsError,
    cut,
    span,
    windows_of,
)

NOW = datetime(2024, 5, 15, 10, 30, tzinfo=UTC)  # a Wednesday
AMSTERDAM = "Europe/Amsterdam"


def between(first: str, last: str, **other: str) -> dict[str, str]:
    """Dates of a backfill from one day to another; `from` is no name that Python lets pass."""
    return {"from": first, "to": last, **other}


def windows(
    dates: Mapping[str, str], now: datetime = NOW, date_format: str = ""
) -> tuple[Window, ...]:
    model = Dates.model_validate(dates)
    whole = span(model, now)
    return cut(model, whole.start.isoformat(), whole.end.isoformat(), date_format)


def keys(dates: Mapping[str, str]) -> list[str]:
    return [window.key for window in windows(dates)]


def hours(window: Window) -> float:
    begin, end = (datetime.fromisoformat(each) for each in (window.event_start, window.event_end))
    return (end - begin) / timedelta(hours=1)


def test_days_are_both_included() -> None:
    found = windows(between("2024-01-01", "2024-01-03"))
    assert [window.key for window in found] == ["2024-01-01", "2024-01-02", "2024-01-03"]
    assert found[1] == Window(
        "2024-01-02", "2024-01-02", "2024-01-03", "2024-01-02T00:00:00", "2024-01-03T00:00:00"
    )


def test_a_single_day() -> None:
    assert keys(between("2024-01-01", "2024-01-01")) == ["2024-01-01"]


def test_the_last_window_is_cut_at_the_end() -> None:
    weeks = windows(between("2024-01-01", "2024-01-10", every="1w"))
    assert [(window.start, window.end) for window in weeks] == [
        ("2024-01-01", "2024-01-08"),
        ("2024-01-08", "2024-01-11"),
    ]


def test_months_keep_to_the_day_that_they_begin_on() -> None:
    found = keys(between("2024-01-31", "2024-05-30", every="1mo"))
    assert found == ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"]


def test_hours_of_a_day() -> None:
    found = windows(between("2024-01-01", "2024-01-01", every="6h", timezone=AMSTERDAM))
    assert [window.key for window in found] == [
        "2024-01-01T00",
        "2024-01-01T06",
        "2024-01-01T12",
        "2024-01-01T18",
    ]
    assert found[0].start == "2024-01-01T00:00:00+01:00"
    assert found[0].event_start == "2023-12-31T23:00:00"


@pytest.mark.parametrize(
    ("last", "every", "expected"),
    [
        ("2d", "1d", ["2024-05-13", "2024-05-14"]),
        ("1w", "1w", ["2024-05-06"]),
        ("2mo", "1mo", ["2024-03-01", "2024-04-01"]),
        ("2h", "1h", ["2024-05-15T08", "2024-05-15T09"]),
        ("1d", "12h", ["2024-05-14T00", "2024-05-14T12"]),
    ],
)
def test_last_means_what_is_over(last: str, every: str, expected: list[str]) -> None:
    assert keys({"last": last, "every": every}) == expected


def test_last_is_over_where_the_days_begin() -> None:
    """At half past ten in London it is tomorrow in Auckland."""
    evening = datetime(2024, 5, 15, 13, 0, tzinfo=UTC)
    assert [w.key for w in windows({"last": "1d", "timezone": "Pacific/Auckland"}, evening)] == [
        "2024-05-15"
    ]


def test_last_hours_where_the_clock_is_half_an_hour_off() -> None:
    late = datetime(2024, 5, 15, 10, 50, tzinfo=UTC)  # 16:20 there
    found = windows({"last": "1h", "every": "1h", "timezone": "Asia/Kolkata"}, late)
    assert [(w.event_start, w.event_end) for w in found] == [
        ("2024-05-15T09:30:00", "2024-05-15T10:30:00")
    ]


# Changes of the clocks


def test_a_day_has_23_or_25_hours_when_the_clocks_change() -> None:
    spring = windows(between("2024-03-30", "2024-04-01", timezone=AMSTERDAM))
    autumn = windows(between("2024-10-26", "2024-10-28", timezone=AMSTERDAM))
    assert [hours(window) for window in spring] == [24, 23, 24]
    assert [hours(window) for window in autumn] == [24, 25, 24]


def test_an_hour_that_never_comes_has_no_window() -> None:
    found = keys(between("2024-03-31", "2024-03-31", every="1h", timezone=AMSTERDAM))
    assert len(found) == 23
    assert "2024-03-31T02" not in found


def test_an_hour_that_comes_twice_has_two_windows() -> None:
    found = windows(between("2024-10-27", "2024-10-27", every="1h", timezone=AMSTERDAM))
    assert [window.key for window in found][1:5] == [
        "2024-10-27T01",
        "2024-10-27T02",
        "2024-10-27T02.2",
        "2024-10-27T03",
    ]
    assert [hours(window) for window in found] == [1] * 25
    assert [window.start[-6:] for window in found][2:4] == ["+02:00", "+01:00"]


def test_windows_of_hours_begin_at_the_same_time_of_every_day() -> None:
    found = windows(between("2024-10-26", "2024-10-28", every="6h", timezone=AMSTERDAM))
    assert {window.key[-3:] for window in found} == {"T00", "T06", "T12", "T18"}
    assert [hours(window) for window in found] == [6, 6, 6, 6, 7, 6, 6, 6, 6, 6, 6, 6]


def test_a_day_may_begin_at_one() -> None:
    """In Cairo the clocks jump from midnight to one."""
    days = windows(between("2024-04-25", "2024-04-27", timezone="Africa/Cairo"))
    assert [hours(window) for window in days] == [24, 23, 24]
    parts = windows(between("2024-04-26", "2024-04-26", every="6h", timezone="Africa/Cairo"))
    assert [window.key for window in parts] == [
        "2024-04-26T01",
        "2024-04-26T06",
        "2024-04-26T12",
        "2024-04-26T18",
    ]


def test_a_day_that_a_zone_left_out_has_no_window() -> None:
    found = keys(between("2011-12-29", "2011-12-31", timezone="Pacific/Apia"))
    assert found == ["2011-12-29", "2011-12-31"]


ZONES = [
    "UTC",
    AMSTERDAM,
    "America/New_York",
    "Africa/Cairo",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Apia",
]


@settings(deadline=None, max_examples=150)
@given(
    start=st.dates(date(1990, 1, 1), date(2035, 1, 1)),
    days=st.integers(0, 120),
    every=st.sampled_from(["1h", "2h", "3h", "6h", "12h", "1d", "5d", "1w", "2w", "1mo", "3mo"]),
    zone=st.sampled_from(ZONES),
)
def test_windows_leave_nothing_out_and_have_nothing_twice(
    start: date, days: int, every: str, zone: str
) -> None:
    end = start + timedelta(days=days)
    dates = between(start.isoformat(), end.isoformat(), every=every, timezone=zone)
    try:
        found = windows(dates)
    except WindowsError:
        assert zone == "Pacific/Apia"  # the day that never was, alone
        return
    whole = span(Dates.model_validate(dates), NOW)
    assert len({window.key for window in found}) == len(found)
    assert found[0].event_start == f"{whole.start.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
    assert found[-1].event_end == f"{whole.end.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
    assert all(before.event_end == after.event_start for before, after in pairwise(found))
    assert all(window.event_start < window.event_end for window in found)
    assert all(before.end == after.start for before, after in pairwise(found))


@settings(deadline=None, max_examples=100)
@given(
    start=st.dates(date(2000, 1, 1), date(2035, 1, 1)),
    zone=st.sampled_from(ZONES),
    every=st.sampled_from(["2h", "6h", "12h"]),
)
def test_windows_of_hours_begin_when_the_clock_shows_a_multiple(
    start: date, zone: str, every: str
) -> None:
    end = start + timedelta(days=2)
    whole = between(start.isoformat(), end.isoformat(), timezone=zone)
    days = {window.event_start for window in windows(whole)}
    for window in windows(whole | {"every": every}):
        local = (
            datetime.fromisoformat(window.event_start)
            .replace(tzinfo=UTC)
            .astimezone(ZoneInfo(zone))
        )
        assert (local.minute, local.hour % int(every[:-1])) == (0, 0) or window.event_start in days


# Text


def test_a_format_for_bounds() -> None:
    found = windows(between("2024-01-31", "2024-01-31"), date_format="%Y%m%d")
    assert (found[0].start, found[0].end) == ("20240131", "20240201")


def test_a_format_must_tell_windows_apart() -> None:
    with pytest.raises(WindowsError, match=r"dateFormat.*different windows"):
        windows(between("2024-01-31", "2024-01-31", every="6h"), date_format="%Y-%m-%d")


# What is refused


def test_ten_thousand_windows_are_the_most() -> None:
    first = date(2000, 1, 1)
    dates = between(first.isoformat(), (first + timedelta(days=LARGEST - 1)).isoformat())
    assert len(windows(dates)) == LARGEST
    with pytest.raises(WindowsError, match="more than 10000"):
        windows(dates | {"to": (first + timedelta(days=LARGEST)).isoformat()})


@pytest.mark.parametrize(
    ("dates", "message"),
    [
        (between("2024-02-30", "2024-03-01"), "days of the calendar"),
        (between("2024-01-01", "9999-12-31", every="1mo"), "days of the calendar"),
        (between("2024-01-01", "2024-01-02", timezone="Europe/Amsterdamned"), "timezone"),
        (between("2024-01-01", "2024-01-02", timezone="etc/passwd"), "timezone"),
        (between("2011-12-30", "2011-12-30", timezone="Pacific/Apia"), "empty"),
    ],
)
def test_what_is_no_range_is_refused(dates: dict[str, str], message: str) -> None:
    with pytest.raises(WindowsError, match=message):
        windows(dates)


# Occurrences of a schedule


def windows_at(date_format: str = "", **when: Any) -> list[Window]:
    found = Occurrences.model_validate({"schedules": ["0 3 * * *"]} | when)
    asked = Windows(occurrences=found, date_format=date_format or None)
    whole = span(Dates.model_validate(found.to_dict()), datetime(2026, 1, 1, tzinfo=UTC))
    return list(
        windows_of(
            Definition(windows=asked, start=whole.start.isoformat(), end=whole.end.isoformat())
        )
    )


def test_each_occurrence_ends_a_window_that_begins_with_the_one_before() -> None:
    when = {"from": "2024-03-30", "to": "2024-04-01", "timezone": "Europe/Amsterdam"}
    found = windows_at(**when)
    assert [(each.start, each.end, each.date) for each in found] == [
        ("2024-03-29T02:00:00Z", "2024-03-30T02:00:00Z", "2024-03-30"),
        ("2024-03-30T02:00:00Z", "2024-03-31T01:00:00Z", "2024-03-31"),
        ("2024-03-31T01:00:00Z", "2024-04-01T01:00:00Z", "2024-04-01"),
    ]
    assert [each.key for each in found] == [
        "2024-03-30T0200Z",
        "2024-03-31T0100Z",
        "2024-04-01T0100Z",
    ]
    assert found[1].event_start == "2024-03-30T02:00:00"
    local = windows_at("%Y-%m-%dT%H%M", **when)
    assert [each.end for each in local] == ["2024-03-30T0300", "2024-03-31T0300", "2024-04-01T0300"]


def test_both_days_are_included_and_no_other() -> None:
    found = windows_at(
        schedules=["0 0 * * *", "0 12 * * 1-5"], **{"from": "2024-01-05", "to": "2024-01-07"}
    )
    assert [each.end[5:16] for each in found] == [
        "01-05T00:00",
        "01-05T12:00",
        "01-06T00:00",
        "01-07T00:00",
    ]


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ({"schedules": ["0 3 31 12 *"]}, "there is none on these days"),
        ({"schedules": ["61 * * * *"]}, "spec.windows.occurrences.schedules[0]: '61 * * * *': bad"),
        ({"schedules": ["* * * * *"], "to": "2024-01-20"}, "more than 10000 windows"),
    ],
)
def test_occurrences_that_make_no_windows_are_refused(when: dict[str, Any], message: str) -> None:
    with pytest.raises(WindowsError, match=re.escape(message)):
        windows_at(**({"from": "2024-01-01", "to": "2024-01-02"} | when))
