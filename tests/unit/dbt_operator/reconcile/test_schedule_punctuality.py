"""Whether a schedule has succeeded in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.schedule_world import ScheduleWorld

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
START = datetime(2026, 1, 2, 2, 0, 5, tzinfo=UTC)


def make_world(**spec: Any) -> ScheduleWorld:
    world = ScheduleWorld(START, **({"finishWithin": "2h"} | spec))
    world.look()
    return world


def on_time(world: ScheduleWorld) -> str:
    found: str = world.condition("OnTime")["status"]
    return found


def go(world: ScheduleWorld, hour: int, minute: int = 0, day: int = 2) -> float | None:
    world.now = datetime(2026, 1, day, hour, minute, 1, tzinfo=UTC)
    return world.look()


def test_a_run_that_takes_too_long_is_late_until_it_has_succeeded() -> None:
    world = make_world()
    assert on_time(world) == "True"
    assert world.status["expectedFinish"] == "2026-01-02T05:00:00Z"
    go(world, 3)
    assert go(world, 4, 59) == 59
    assert on_time(world) == "True"
    go(world, 5)
    assert on_time(world) == "False"
    assert world.condition("OnTime")["reason"] == "Late"
    assert world.status["late"] == {
        "occurrence": "2026-01-02T03:00:00Z",
        "since": "2026-01-02T05:00:00Z",
    }
    assert world.status["expectedFinish"] == "2026-01-02T05:00:00Z"
    late = [event for event in world.cluster.events if event.reason == "Late"]
    assert len(late) == 1
    world.finish_runs()
    go(world, 6)
    assert on_time(world) == "True"
    assert "late" not in world.status
    assert world.status["expectedFinish"] == "2026-01-03T05:00:00Z"


def test_one_that_succeeds_in_time_is_not_late() -> None:
    world = make_world()
    go(world, 3)
    world.finish_runs()
    go(world, 4, 59)
    go(world, 5, 1)
    assert on_time(world) == "True"


@pytest.mark.parametrize(
    ("phase", "reason", "late"),
    [
        ("Failed", "ModelError", True),
        ("Cancelled", "Cancelled", True),
        ("Skipped", "NotFresh", False),
        ("Skipped", "UpstreamMissing", True),
    ],
)
def test_whatever_the_reason(phase: str, reason: str, *, late: bool) -> None:
    world = make_world()
    go(world, 3)
    world.finish_runs(phase, reason=reason)
    go(world, 3, 30)
    assert on_time(world) == "True", "it may be mended in time"
    go(world, 5)
    assert on_time(world) == ("False" if late else "True")


def test_nobody_who_is_there_is_no_excuse() -> None:
    world = make_world(catchUp="None")
    go(world, 12)
    assert world.runs == {}
    assert on_time(world) == "False"
    assert world.status["late"]["occurrence"] == "2026-01-02T03:00:00Z"


def test_a_success_of_a_later_occurrence_makes_up_for_it() -> None:
    world = make_world(schedules=["0 * * * *"], finishWithin="30m", concurrencyPolicy="Queue")
    go(world, 3)
    go(world, 4)
    go(world, 5)
    assert on_time(world) == "False"
    assert world.status["late"]["occurrence"] == "2026-01-02T03:00:00Z"
    world.finish_runs()
    go(world, 5, 10)
    assert world.status["late"]["occurrence"] == "2026-01-02T04:00:00Z", "only 03:00 has succeeded"
    world.finish_runs()
    go(world, 5, 20)
    assert on_time(world) == "True"


def test_a_run_now_makes_up_for_it() -> None:
    world = make_world()
    go(world, 3)
    world.finish_runs("Failed", reason="ModelError")
    go(world, 5)
    assert on_time(world) == "False"
    world.annotate(**{"dbt-operator.dev/run-now": "1"})
    world.look()
    world.finish_runs()
    world.look()
    assert on_time(world) == "True"
    assert world.status["lastSuccessOccurrence"] == "2026-01-02T03:00:00Z"


def test_it_is_late_for_longer_than_the_history_reaches() -> None:
    world = make_world(schedules=["*/10 * * * *"])
    for _ in range(60):
        world.now += 10 * MINUTE
        world.look()
        world.finish_runs("Failed", reason="ModelError")
        world.look()
    assert len(world.status["history"]) == 20
    assert world.status["late"]["occurrence"] == "2026-01-02T02:10:00Z"


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("UTC", "2026-01-02T07:00:00Z"),
        ("Europe/Amsterdam", "2026-01-02T06:00:00Z"),
    ],
)
def test_it_may_be_a_time_of_the_day(zone: str, expected: str) -> None:
    entries = ["30 6 * * *"]
    world = make_world(schedules=entries, finishWithin=None, finishAt="T07:00", timezone=zone)
    assert world.status["expectedFinish"] == expected


def test_a_time_that_the_clock_leaves_out_is_the_end_of_the_gap() -> None:
    world = ScheduleWorld(
        datetime(2026, 3, 28, 23, tzinfo=UTC),
        schedules=["0 1 * * *"],
        timezone="Europe/Amsterdam",
        finishAt="T02:30",
    )
    world.look()
    assert world.status["expectedFinish"] == "2026-03-29T01:00:00Z"


def test_without_a_time_nothing_is_said() -> None:
    world = make_world()
    go(world, 5)
    world.edit(finishWithin=None)
    world.look()
    assert "expectedFinish" not in world.status
    assert "late" not in world.status
    assert "OnTime" not in {each["type"] for each in world.status["conditions"]}


def test_nothing_is_due_while_it_is_suspended() -> None:
    world = make_world(suspend=True)
    go(world, 12)
    assert on_time(world) == "True"
    assert "expectedFinish" not in world.status
