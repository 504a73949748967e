"""What is counted of runs and backfills that end."""

from __future__ import annotations

from typing import Any

from dbt_operator.metrics.ends import MOST_ENDS
from tests.support.builders import (
    backfill,
    ended_status,
    failed_summary,
    manifest,
    project,
    run,
    running_status,
    stamp,
    target,
)
from tests.support.metrics_pages import Shown
from tests.support.run_world import World, happy_path
from tests.support.schedule_world import schedule

SCHEDULE_UID = "uid-of-a-schedule"


def of_schedule(made: dict[str, Any], uid: str = SCHEDULE_UID) -> dict[str, Any]:
    owner = {"kind": "DbtSchedule", "name": "nightly", "uid": uid, "controller": True}
    made["metadata"]["ownerReferences"] = [owner]
    return made


def ended(phase: str = "Succeeded", reason: str | None = None, **status: Any) -> dict[str, Any]:
    made = run()
    made["status"] = {"phase": phase, **({"reason": reason} if reason else {}), **status}
    return made


def watched(world: World) -> Shown:
    shown = Shown(*world.cluster.objects.values())
    shown.store = world.store
    world.reconciler.count_ends_by(shown.metrics.count_end)
    return shown


def test_a_run_is_counted_once_when_it_ends() -> None:
    world = World()
    shown = watched(world)
    happy_path(world)
    assert shown.series("runs_ended_total") == {"analytics/Succeeded/shop/prod": 1}
    world.settle()
    assert shown.series("runs_ended_total") == {"analytics/Succeeded/shop/prod": 1}
    assert shown.series("nodes_total") == {
        "analytics/shop/success/prod": 20,
        "analytics/shop/pass/prod": 8,
    }
    assert shown.series("artifacts_failed_total") == {}
    durations = shown.families()["dbt_operator_run_duration_seconds"].samples
    assert {each.value for each in durations if each.labels.get("le") == "60.0"} == {1}
    assert {each.value for each in durations if each.labels.get("le") == "30.0"} == {0}


def test_an_operator_that_is_started_anew_counts_no_end_again() -> None:
    world = World()
    watched(world)
    happy_path(world)
    world.restart()
    shown = watched(world)
    world.settle()
    assert shown.series("runs_ended_total") == {}


def test_a_failure_is_counted_with_its_reason() -> None:
    world = World()
    shown = watched(world)
    world.settle()
    world.pod(running_status())
    world.settle()
    world.pod(ended_status(1, failed_summary()))
    world.settle()
    assert shown.series("runs_ended_total") == {"analytics/Failed/shop/ModelError/prod": 1}
    assert shown.series("nodes_total")["analytics/shop/error/prod"] == 1


def test_artifacts_that_did_not_arrive_are_counted() -> None:
    shown = Shown(project(), target())
    uploaded = {"type": "ArtifactsUploaded", "status": "False", "reason": "UploadFailed"}
    shown.metrics.count_end("DbtRun", ended("Failed", "UploadFailed", conditions=[uploaded]))
    assert shown.series("artifacts_failed_total") == {"analytics/shop/prod": 1}


def test_how_long_it_has_waited_is_counted_for_its_target() -> None:
    shown = Shown(project(), target())
    shown.metrics.count_end("DbtRun", ended(queuedSeconds=45))
    sums = shown.families()["dbt_operator_run_queued_seconds"].samples
    assert [each.value for each in sums if each.name.endswith("_sum")] == [45]


def test_a_run_is_of_its_schedule() -> None:
    shown = Shown(project(), target(), schedule())
    shown.metrics.count_end("DbtRun", of_schedule(ended()))
    shown.metrics.count_end(
        "DbtBackfill", of_schedule(backfill() | {"status": {"phase": "Failed"}})
    )
    assert shown.series("runs_ended_total") == {"analytics/Succeeded/shop/nightly/prod": 1}
    assert shown.series("backfills_ended_total") == {"analytics/Failed/shop/nightly/prod": 1}


def test_nobody_makes_series_by_naming_what_does_not_exist() -> None:
    shown = Shown(project(), target(), schedule())
    made = ended()
    made["spec"] |= {"projectRef": {"name": "a"}, "targetRef": {"name": "b"}}
    shown.metrics.count_end("DbtRun", of_schedule(made, "uid-of-another"))
    assert shown.series("runs_ended_total") == {"analytics/Succeeded": 1}


def test_what_is_gone_is_forgotten() -> None:
    shown = Shown(project(), target(), schedule())
    shown.metrics.count_end("DbtRun", of_schedule(ended(startedAt=stamp(), finishedAt=stamp(9))))
    shown.store.drop("DbtSchedule", schedule())
    assert shown.series("runs_ended_total") == {}
    assert shown.series("run_duration_seconds")
    shown.store.drop("DbtTarget", target())
    assert shown.series("run_duration_seconds") == {}


def test_a_schedule_whose_runs_end_in_many_ways_has_few_series_all_the_same() -> None:
    shown = Shown(project(), target(), schedule())
    for number in range(30):
        shown.metrics.count_end("DbtRun", of_schedule(ended("Failed", f"Reason{number}")))
        shown.metrics.count_end("DbtRun", ended("Failed", f"Reason{number}"))
    found = shown.series("runs_ended_total")
    assert found["analytics/Failed/shop/Other/nightly/prod"] == 30 - MOST_ENDS
    assert sum("nightly" in labels for labels in found) == MOST_ENDS + 1
    assert sum(found.values()) == 60


def test_an_end_that_cannot_be_read_hurts_nobody() -> None:
    shown = Shown(project(), target())
    shown.metrics.count_end("DbtRun", manifest("DbtRun", "odd", {}))
    shown.metrics.count_end("DbtRun", ended())
    assert shown.series("runs_ended_total") == {"analytics/Succeeded/shop/prod": 1}
