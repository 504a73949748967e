"""What is shown of runs, backfills and targets."""

from __future__ import annotations

from typing import Any

from tests.support.builders import backfill, later, project, run, stamp, target
from tests.support.metrics_pages import Shown


def a_run(name: str, phase: str | None, **status: Any) -> dict[str, Any]:
    made = run()
    made["metadata"] |= {"name": name, "uid": f"uid-of-{name}"}
    made["status"] = ({"phase": phase} if phase else {}) | status
    return made


def a_target(holders: int = 0, **spec: Any) -> dict[str, Any]:
    made = target(**spec)
    made["status"] = {"holders": [{"uid": f"uid{number}"} for number in range(holders)]}
    return made


def test_runs_are_counted_by_their_phase() -> None:
    shown = Shown(
        project(), target(), a_run("a", "Running"), a_run("b", "Running"), a_run("c", None)
    )
    assert shown.series("runs") == {
        "analytics/Running/shop/prod": 2,
        "analytics/Pending/shop/prod": 1,
    }


def test_runs_that_have_ended_are_not() -> None:
    assert Shown(project(), target(), a_run("a", "Succeeded")).series("runs") == {}


def test_a_target_tells_of_its_slots_and_its_queue() -> None:
    shown = Shown(
        project(),
        a_target(2, maxConcurrentRuns=3),
        a_run("a", "Queued", queue={"since": stamp(-60)}),
        a_run("b", "Queued", queue={"since": stamp(-3600)}),
    )
    assert shown.series("target_slots") == {"analytics/prod": 3}
    assert shown.series("target_holders") == {"analytics/prod": 2}
    assert shown.series("target_queued") == {"analytics/prod": 2}
    assert shown.series("target_queued_since_timestamp_seconds") == {
        "analytics/prod": later(-3600).timestamp()
    }


def test_a_target_that_nobody_waits_for_says_so() -> None:
    shown = Shown(a_target())
    assert shown.series("target_slots") == {"analytics/prod": 1}
    assert shown.series("target_holders") == {"analytics/prod": 0}
    assert shown.series("target_queued") == {"analytics/prod": 0}
    assert shown.series("target_queued_since_timestamp_seconds") == {}


def test_a_backfill_at_work_tells_of_its_windows() -> None:
    made = backfill()
    made["status"] = {"phase": "Running", "windows": {"succeeded": 2, "failed": 1, "pending": 4}}
    other = backfill("other") | {"status": {"phase": "Succeeded", "windows": {"succeeded": 9}}}
    shown = Shown(project(), target(), made, other)
    assert shown.series("backfills") == {"analytics/Running/shop/prod": 1}
    assert shown.series("backfill_windows") == {
        "analytics/shop/pending/prod": 4,
        "analytics/shop/running/prod": 0,
        "analytics/shop/succeeded/prod": 2,
        "analytics/shop/failed/prod": 1,
        "analytics/shop/skipped/prod": 0,
    }


def test_what_is_still_to_be_told_is_counted_of_runs_that_have_ended_too() -> None:
    sent = {"state": "Sent", "since": stamp(-99)}
    older, newer = ({"state": "Pending", "since": stamp(since)} for since in (-60, -30))
    told = a_run("a", "Failed", notifications=[sent, older], finishedAt=stamp(-60))
    shown = Shown(told, a_run("b", "Failed"), a_run("c", "Running", notifications=[newer]))
    assert shown.series("notifying_objects") == {"analytics": 2}
    assert shown.series("notifications_pending_since_timestamp_seconds") == {
        "analytics": later(-60).timestamp()
    }


def test_nobody_makes_series_by_naming_what_does_not_exist() -> None:
    assert Shown(a_run("a", "Running")).series("runs") == {"analytics/Running": 1}


def test_a_run_that_cannot_be_read_hides_no_other() -> None:
    odd = a_run("odd", "Running", windows=7)
    odd["spec"]["projectRef"] = "shop"
    shown = Shown(project(), target(), odd, a_run("a", "Running"))
    assert shown.series("runs") == {"analytics/Running/shop/prod": 1}
