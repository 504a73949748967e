"""What is shown of schedules, of statuses that the planner has written: alerts are made of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.builders import project, target
from tests.support.metrics_pages import Series, Shown
from tests.support.schedule_world import ScheduleWorld

START = datetime(2026, 1, 2, 2, 0, 5, tzinfo=UTC)
OK = "analytics/shop/nightly/prod"


def moment(day: int, hour: int, minute: int = 0) -> float:
    return datetime(2026, 1, day, hour, minute, tzinfo=UTC).timestamp()


def make_world(**spec: Any) -> ScheduleWorld:
    world = ScheduleWorld(START, **spec)
    world.look()
    return world


def go(world: ScheduleWorld, day: int, hour: int = 3, minute: int = 0) -> None:
    world.now = datetime(2026, 1, day, hour, minute, 1, tzinfo=UTC)
    world.look()


def end(world: ScheduleWorld, phase: str = "Succeeded", **status: Any) -> None:
    world.finish_runs(phase, **status)
    world.look()


def show(world: ScheduleWorld, name: str) -> Series:
    """Of an operator that has just begun: it knows nothing but what the status says."""
    return Shown(world.manifest, project(), target()).series(f"schedule_{name}")


def failed(world: ScheduleWorld) -> Series:
    return show(world, "last_run_failed")


def unsuccessful(world: ScheduleWorld) -> Series:
    return show(world, "occurrences_since_success")


def test_a_schedule_that_has_not_run_has_not_failed() -> None:
    world = make_world()
    assert failed(world) == {OK: 0}
    assert unsuccessful(world) == {OK: 0}
    assert show(world, "last_success_timestamp_seconds") == {}
    assert show(world, "last_run_duration_seconds") == {}


def test_the_first_failure_ever_is_seen_at_once() -> None:
    world = make_world()
    go(world, 2)
    assert failed(world) == {OK: 0}
    end(world, "Failed", reason="ModelError")
    assert failed(world) == {"analytics/shop/ModelError/nightly/prod": 1}
    assert unsuccessful(world) == {OK: 1}
    assert show(world, "last_run_duration_seconds") == {OK: 60}
    go(world, 3)
    end(world)
    assert failed(world) == {OK: 0}
    assert unsuccessful(world) == {OK: 0}
    assert show(world, "last_success_timestamp_seconds") == {OK: moment(3, 3) + 1}


def test_one_that_was_cancelled_does_not_hide_a_failure() -> None:
    world = make_world()
    go(world, 2)
    end(world, "Failed", reason="TestFailed")
    go(world, 3)
    end(world, "Cancelled", reason="Cancelled")
    assert failed(world) == {"analytics/shop/TestFailed/nightly/prod": 1}
    assert unsuccessful(world) == {OK: 2}


@pytest.mark.parametrize("reason", ["NotFresh", "NotArrived"])
def test_one_that_had_nothing_to_do_changes_nothing(reason: str) -> None:
    world = make_world()
    go(world, 2)
    end(world, "Failed", reason="TestFailed")
    go(world, 3)
    end(world, "Skipped", reason=reason)
    assert failed(world) == {"analytics/shop/TestFailed/nightly/prod": 1}
    assert unsuccessful(world) == {OK: 1}


def test_occurrences_that_were_skipped_do_not_count() -> None:
    world = make_world()
    for day in range(2, 6):
        go(world, day)
    assert [past["phase"] for past in world.status["history"]] == ["Skipped"]
    assert unsuccessful(world) == {OK: 0}


def test_occurrences_that_were_missed_count() -> None:
    world = make_world(catchUp="None")
    go(world, 5, 2)
    assert {past["phase"] for past in world.status["history"]} == {"Missed"}
    assert unsuccessful(world) == {OK: 3}
    assert failed(world) == {OK: 0}


def test_another_run_for_an_occurrence_does_not_count_twice() -> None:
    world = make_world()
    go(world, 2)
    end(world, "Failed", reason="ModelError")
    name = world.status["history"][0]["run"]
    world.annotate(**{"dbt-operator.dev/retry": name})
    world.look()
    end(world, "Failed", reason="ModelError")
    assert len(world.status["history"]) == 2
    assert unsuccessful(world) == {OK: 1}


def test_a_failure_is_known_even_when_the_history_has_forgotten_it() -> None:
    world = make_world()
    go(world, 2)
    end(world, "Failed", reason="ModelError")
    world.status["history"] = []
    assert failed(world) == {"analytics/shop/ModelError/nightly/prod": 1}


def test_nothing_is_due_while_it_is_suspended() -> None:
    world = make_world()
    assert show(world, "occurrence_due_timestamp_seconds") == {OK: moment(2, 3)}
    assert show(world, "suspended") == {OK: 0}
    world.edit(suspend=True)
    for _ in range(2):
        assert show(world, "suspended") == {OK: 1}
        assert show(world, "occurrence_due_timestamp_seconds") == {}
        assert unsuccessful(world) == {}
        world.look()


def test_nothing_is_due_while_it_is_paused() -> None:
    world = make_world()
    world.annotate(**{"dbt-operator.dev/paused-until": "forever"})
    world.look()
    assert show(world, "suspended") == {OK: 1}
    assert show(world, "occurrence_due_timestamp_seconds") == {}


def test_an_occurrence_that_nobody_begins_stays_due() -> None:
    world = make_world()
    world.now = datetime(2026, 1, 2, 9, tzinfo=UTC)  # and nobody looks
    assert show(world, "occurrence_due_timestamp_seconds") == {OK: moment(2, 3)}
    go(world, 2, 9)
    assert show(world, "occurrence_due_timestamp_seconds") == {OK: moment(3, 3)}


def test_an_occurrence_whose_run_cannot_be_created_is_due_since_that_was_decided() -> None:
    world = make_world()
    world.cluster.refusal = "exceeded quota"
    go(world, 2)
    go(world, 2, 3, 9)
    assert show(world, "occurrence_due_timestamp_seconds") == {OK: moment(2, 3) + 1}


def test_on_weekdays_alone_monday_is_due_over_the_weekend() -> None:
    world = make_world(schedules=["0 3 * * 1-5"])
    go(world, 2)  # a Friday
    end(world)
    assert show(world, "occurrence_due_timestamp_seconds") == {OK: moment(5, 3)}


def test_late_is_since_when_it_was_to_have_succeeded() -> None:
    world = make_world(finishWithin="2h")
    go(world, 2)
    assert show(world, "late_since_timestamp_seconds") == {}
    go(world, 2, 6)
    assert show(world, "late_since_timestamp_seconds") == {OK: moment(2, 5)}
    end(world)
    assert show(world, "late_since_timestamp_seconds") == {}


def test_one_that_cannot_be_read_hides_no_other() -> None:
    world = make_world()
    odd = ScheduleWorld(START, name="odd", uid="uid-of-odd").manifest
    odd["spec"] = {"schedules": ["0 3 * * *"]}
    shown = Shown(odd, world.manifest, project(), target())
    assert shown.series("schedule_last_run_failed") == {OK: 0}
