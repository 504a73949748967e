"""When entries of cron are due, around every change of the clocks in two years."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbt_operator.planning.common.timetable import Timetable, TimetableError
from tests.support.wall_clock import SHAPES, ZONES, Shape, enumerate_moments, find_edges

AROUND = timedelta(hours=30)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.entry)
def test_what_is_due_when_clocks_change(zone: str, shape: Shape) -> None:
    timetable = Timetable.parse([shape.entry], zone)
    for edge in find_edges(zone):
        after, until = edge - AROUND, edge + AROUND
        expected = enumerate_moments(shape, zone, after, until)
        assert timetable.between(after, until) == expected
        assert list(takewhile(until.__ge__, timetable.after(after))) == expected
        for before, moment in pairwise(expected):
            assert timetable.find_before(moment) == before


@given(
    st.sampled_from(ZONES),
    st.sampled_from(SHAPES),
    st.integers(0, 3),
    st.lists(st.integers(1, 4000), max_size=8),
)
def test_it_does_not_matter_how_often_somebody_looks(
    zone: str, shape: Shape, which: int, minutes: list[int]
) -> None:
    edges = find_edges(zone)
    edge = edges[which % len(edges)]
    after, until = edge - AROUND, edge + AROUND
    timetable = Timetable.parse([shape.entry], zone)
    looks = sorted({min(after + timedelta(minutes=each), until) for each in minutes} | {until})
    found, cursor = [], after
    for look in looks:
        found += timetable.between(cursor, look)
        cursor = look
    assert found == timetable.between(after, until)


def test_several_entries_on_one_minute_are_one_occurrence() -> None:
    timetable = Timetable.parse(["0 3 * * *", "0 */3 * * *", "@hourly"], "UTC")
    hours = [moment.hour for moment in islice(timetable.after(NOW), 24)]
    assert hours == [*range(4, 24), 0, 1, 2, 3]


def test_the_times_of_a_gap_are_one_occurrence_at_its_end() -> None:
    timetable = Timetable.parse(["0,10,50 2 * * *", "30 2 * * *", "0 3 * * *"], "Europe/Amsterdam")
    day = datetime(2026, 3, 29, tzinfo=UTC)
    assert timetable.between(day, day + timedelta(hours=12)) == [day.replace(hour=1)]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("0 6 L * *", ["2026-01-31", "2026-02-28", "2026-03-31"]),
        ("0 6 LW * *", ["2026-01-30", "2026-02-27", "2026-03-31"]),
        ("0 6 * * 5L", ["2026-01-30", "2026-02-27", "2026-03-27"]),
        ("0 6 * * MON#2", ["2026-01-12", "2026-02-09", "2026-03-09"]),
        ("0 6 * * 7", ["2026-01-04", "2026-01-11", "2026-01-18"]),
        ("0 6 1 jan *", ["2027-01-01", "2028-01-01", "2029-01-01"]),
        ("@yearly", ["2027-01-01", "2028-01-01", "2029-01-01"]),
        ("@monthly", ["2026-02-01", "2026-03-01", "2026-04-01"]),
        ("@weekly", ["2026-01-04", "2026-01-11", "2026-01-18"]),
        ("0 6 29 2 *", ["2028-02-29"]),
        # Either of them, as neither is a star.
        ("0 6 13 * FRI", ["2026-01-02", "2026-01-09", "2026-01-13"]),
    ],
)
def test_entries_of_cron(entry: str, expected: list[str]) -> None:
    timetable = Timetable.parse([entry], "UTC")
    found = [moment.date().isoformat() for moment in islice(timetable.after(NOW), 3)]
    assert found == expected


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("61 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("* * 0 * *", "bad day-of-month"),
        ("* * * 13 *", "bad month"),
        ("* * * * 8", "bad day-of-week"),
        ("0 0 31 2 *", "bad day-of-month"),
        ("* * * *", "five fields"),
        ("0 * * * * *", "five fields"),
        ("@reboot", "five fields"),
        ("", "five fields"),
    ],
)
def test_an_entry_that_means_nothing_is_named(entry: str, words: str) -> None:
    with pytest.raises(TimetableError, match=words) as caught:
        Timetable.parse(["@daily", entry], "UTC")
    assert str(caught.value).startswith(f"spec.schedules[1]: {entry!r}")


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "CET/../UTC", "/etc/passwd", "Local"])
def test_a_zone_that_does_not_exist_is_named(zone: str) -> None:
    with pytest.raises(TimetableError, match=r"^spec.timezone: .* no time zone of the IANA"):
        Timetable.parse(["@daily"], zone)


def test_an_entry_without_an_occurrence_in_five_years_is_found() -> None:
    # A 29th of February that is a Sunday: both have to match, as one begins with a star.
    assert Timetable.parse(["@daily", "0 0 29 2 */7"], "UTC").find_idle(NOW) == 1
    assert Timetable.parse(["@daily", "0 0 29 2 *"], "UTC").find_idle(NOW) is None
