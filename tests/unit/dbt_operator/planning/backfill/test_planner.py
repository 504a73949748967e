"""A backfill from its creation to its end, whatever comes in between."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.support.backfill_world import BackfillWorld, days
from tests.support.builders import backfill, run

Make = Callable[..., BackfillWorld]
WEEK = days(range(1, 8))


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[BackfillWorld] = []

    def one(**options: Any) -> BackfillWorld:
        made.append(BackfillWorld(**options))
        return made[-1]

    yield one
    for world in made:
        world.stop()


def phases(world: BackfillWorld, name: str = "past") -> dict[str, str]:
    return {entry["window"]: entry["phase"] for entry in world.status_of(name)["ledger"]}


def test_every_window_is_worked_through_once(make: Make) -> None:
    world = make(maxConcurrentWindows=2)
    world.tell()
    assert world.status["phase"] == "Succeeded"
    assert world.counted() == dict.fromkeys(WEEK, 1)
    assert world.server.at_once == 2
    assert world.status["windows"] == {
        "total": 7,
        "pending": 0,
        "running": 0,
        "succeeded": 7,
        "failed": 0,
        "skipped": 0,
        "done": "7/7",
        "states": "+++++++",
    }
    assert [entry["window"] for entry in world.status["ledger"]] == WEEK
    assert len(world.server.created_runs) == 2
    conditions = {each["type"]: each["status"] for each in world.status["conditions"]}
    assert (conditions["Succeeded"], conditions["Finished"], conditions["Ready"]) == (
        "True",
        "True",
        "True",
    )


def test_windows_come_in_their_order(make: Make) -> None:
    oldest, newest = make(), make(order="NewestFirst")
    oldest.tell()
    newest.tell()
    assert oldest.server.worked == WEEK
    assert newest.server.worked == WEEK[::-1]


def test_windows_per_pod(make: Make) -> None:
    world = make(windowsPerPod=3)
    world.tell()
    assert [len(world.server.plan(pod).windows) for pod in world.server.pods] == [3, 3, 1]
    assert world.server.worked == WEEK


def test_the_runs_are_built_from_what_the_backfill_has_resolved(make: Make) -> None:
    world = make(windowsPerPod=3)
    world.tell(until=lambda: len(world.server.worked) == 1)
    world.edit("shop", "DbtProject", image="registry.example.com/dbt:2.0")
    world.tell()
    images = {pod["spec"]["containers"][0]["image"] for pod in world.server.pods}
    assert images == {"registry.example.com/dbt:1.0"}
    locations = {
        world.status_of(name, "DbtRun")["resolved"]["location"]
        for name in world.server.created_runs
    }
    assert len(locations) == 3
    assert world.status["resolved"]["image"] == "registry.example.com/dbt:1.0"


def test_no_window_becomes_the_state_of_the_project(make: Make) -> None:
    """Although each builds all of it."""
    world = make()
    world.tell()
    assert world.status["phase"] == "Succeeded"
    assert "states" not in world.server.objects["DbtProject", "shop"]["status"]


def test_a_failed_window_stops_what_has_not_begun(make: Make) -> None:
    world = make(maxConcurrentWindows=2)
    world.server.failing = {"2024-01-03"}
    world.tell()
    assert world.status["phase"] == "Failed"
    assert world.status["reason"] == "TestFailed"
    # The pod beside it hears of it when it has begun one more.
    assert world.server.worked == [*WEEK[:4], "2024-01-06"]
    assert phases(world)["2024-01-03"] == "Failed"
    assert phases(world)["2024-01-04"] == "Succeeded"
    assert "window 2024-01-03 in DbtRun past-uid-of-d-1 (TestFailed)" in world.status["message"]
    assert world.status["failures"][0]["window"] == "2024-01-03"


def test_stop_now_cancels_what_runs_beside_the_failure(make: Make) -> None:
    world = make(maxConcurrentWindows=2, onFailure="StopNow")
    world.server.failing = {"2024-01-03"}
    world.tell(until=lambda: len(world.server.worked) == 2)
    world.server.work(only="-1")  # day 3 fails while day 4 is at work
    world.tell()
    assert world.server.worked == WEEK[:3]
    assert phases(world)["2024-01-04"] == "Cancelled"
    assert world.status["reason"] == "TestFailed"


def test_continue_goes_on_with_the_others(make: Make) -> None:
    world = make(maxConcurrentWindows=2, onFailure="Continue")
    world.server.failing = {"2024-01-03"}
    world.tell()
    assert world.status["phase"] == "Failed"
    assert world.counted() == dict.fromkeys(WEEK, 1)
    assert world.status["windows"]["succeeded"] == 6


def test_a_container_that_dies_takes_no_other_window_with_it(make: Make) -> None:
    world = make(onFailure="Continue")
    world.server.killing = {"2024-01-03"}
    world.tell()
    assert world.counted() == dict.fromkeys(WEEK, 1)
    assert world.status["ledger"][2]["reason"] == "OOMKilled"
    assert world.status["windows"]["succeeded"] == 6
    assert len(world.server.created_runs) == 2


@pytest.mark.parametrize(("which", "expected"), [("Unfinished", 5), ("Failed", 1), ("All", 7)])
def test_resume_does_what_is_missing(make: Make, which: str, expected: int) -> None:
    world = make()
    world.server.failing = {"2024-01-03"}
    world.tell()
    world.server.failing = set()
    world.server.worked.clear()
    world.add(backfill("again", resumeFrom={"name": "past", "windows": which}))
    world.tell(until=lambda: world.ended("again"))
    assert world.status_of("again")["phase"] == "Succeeded"
    assert len(world.server.worked) == expected
    assert world.status_of("again")["windows"]["skipped"] == 7 - expected


def test_resume_has_the_range_of_what_it_resumes(make: Make) -> None:
    other = {"dates": {"from": "2024-02-01", "to": "2024-02-07"}}
    world = make()
    world.server.failing = {"2024-01-03"}
    world.tell()
    world.add(backfill("again", resumeFrom={"name": "past"}, windows=other))
    world.tell(until=lambda: world.ended("again"))
    assert world.status_of("again")["reason"] == "InvalidSpec"
    assert "leave them out" in world.status_of("again")["message"]


def test_it_waits_for_what_it_resumes_for_as_long_as_that_takes(make: Make) -> None:
    world = make(suspend=True)
    world.add(backfill("again", resumeFrom={"name": "past"}))
    world.happen(2)
    world.now += timedelta(days=1)
    world.happen(2)
    assert world.status_of("again")["message"] == "waiting: DbtBackfill past has not ended yet"
    world.edit(cancel=True)
    world.tell(until=lambda: world.ended("again"))
    assert world.server.worked == WEEK


def test_a_dry_run_lists_the_windows_and_starts_nothing(make: Make) -> None:
    world = make(dryRun=True)
    world.tell()
    assert world.status["phase"] == "Planned"
    assert list(phases(world).items()) == [(day, "Pending") for day in WEEK]
    assert world.server.created_runs == []


def test_keys(make: Make) -> None:
    world = make(
        windows={"keys": ["emea", "apac", "amer"]}, run={"vars": {"region": "$(window.key)"}}
    )
    world.tell()
    assert world.server.worked == ["emea", "apac", "amer"]


def test_cancel_ends_everything(make: Make) -> None:
    world = make(maxConcurrentWindows=2)
    world.tell(until=lambda: len(world.server.worked) == 2)
    world.edit(cancel=True)
    world.happen(3)
    world.tell()
    assert world.status["phase"] == "Cancelled"
    assert world.server.worked == WEEK[:2]
    assert [entry["phase"] for entry in world.status["ledger"]] == [
        *["Succeeded"] * 2,
        *["Cancelled"] * 2,
        *["Pending"] * 3,
    ]


def test_suspend_gives_the_slot_back_and_resume_goes_on(make: Make) -> None:
    world = make(maxConcurrentWindows=2)
    world.tell(until=lambda: len(world.server.worked) == 2)
    world.edit(suspend=True)
    world.tell(until=lambda: world.status["phase"] == "Suspended")
    world.happen(3)
    assert world.server.worked == WEEK[:4]
    assert not world.server.objects["DbtTarget", "prod"]["status"]["holders"]
    world.edit(suspend=False)
    world.tell()
    assert world.counted() == dict.fromkeys(WEEK, 1)
    assert world.status["phase"] == "Succeeded"


def test_fewer_at_a_time_lets_what_has_begun_come_to_its_end(make: Make) -> None:
    world = make(maxConcurrentWindows=3)
    world.tell(until=lambda: len(world.server.worked) == 3)
    world.edit(maxConcurrentWindows=1)
    world.happen(2)
    world.server.work()
    world.happen(2)
    world.server.at_once = 0
    world.tell()
    assert world.server.at_once == 1
    assert world.counted() == dict.fromkeys(WEEK, 1)


def test_a_run_of_higher_priority_gets_in_between_two_windows(make: Make) -> None:
    world = make()
    world.tell(until=lambda: len(world.server.worked) == 1)
    urgent = run(priority=5)
    urgent["metadata"] |= {"name": "urgent", "uid": "uid-of-urgent"}
    world.add(urgent)
    world.tell()
    assert world.status_of("urgent", "DbtRun")["phase"] == "Succeeded"
    place = world.server.worked.index("urgent")
    assert 2 <= place <= 3
    assert [each for each in world.server.worked if each != "urgent"] == WEEK
    assert world.status["phase"] == "Succeeded"


def test_after_it_has_yielded_it_completes_a_window_before_it_yields_again(make: Make) -> None:
    world = make()
    world.tell(until=lambda: len(world.server.worked) == 1)
    for number in range(3):
        urgent = run(priority=5)
        urgent["metadata"] |= {"name": f"urgent-{number}", "uid": f"uid-of-urgent-{number}"}
        world.add(urgent)
        world.tell(until=lambda number=number: f"urgent-{number}" in world.server.worked)  # type: ignore[misc]
    world.tell()
    places = [place for place, each in enumerate(world.server.worked) if each.startswith("urgent")]
    assert all(after - before > 1 for before, after in pairwise(places))
    assert [each for each in world.server.worked if each in WEEK] == WEEK


def test_a_slot_that_it_has_just_got_is_used_for_a_window_before_it_is_given_up(make: Make) -> None:
    """Else those who arrive just after it has got the slot would keep it from ever doing
    anything.
    """
    world = make()
    holder = {"kind": "DbtBackfill", "name": "past", "since": "2026-01-02T03:04:05.000000Z"}
    full = copy.deepcopy(world.server.objects["DbtTarget", "prod"])
    full["status"] = {
        "holders": [
            holder | {"uid": world.server.objects["DbtBackfill", "past"]["metadata"]["uid"]}
        ]
    }
    world.add(full)
    urgent = run(priority=5)
    urgent["metadata"] |= {"name": "urgent", "uid": "uid-of-urgent"}
    world.add(urgent)
    world.tell()
    assert world.server.worked[0] == WEEK[0]
    assert world.server.worked.index("urgent") <= 2


def test_a_run_of_the_same_priority_waits(make: Make) -> None:
    world = make()
    world.tell(until=lambda: len(world.server.worked) == 1)
    other = run()
    other["metadata"] |= {"name": "other", "uid": "uid-of-other"}
    world.add(other)
    world.tell()
    world.happen(3)
    world.server.end_others()
    assert world.server.worked[:7] == WEEK


def test_a_run_that_only_says_it_is_part_of_a_backfill_begins_nothing(make: Make) -> None:
    world = make()
    world.tell(until=lambda: len(world.server.worked) == 1)
    forged = run()
    owner = {
        "kind": "DbtBackfill",
        "name": "past",
        "uid": "uid-of-dbtbackfill-past",
        "controller": True,
    }
    forged["metadata"] |= {"name": "forged", "uid": "uid-of-forged", "ownerReferences": [owner]}
    world.add(forged)
    world.happen(2)
    assert not world.ended()
    assert ("DbtRun", "forged") not in world.server.objects
    world.tell()
    assert not any(name.startswith("forged") for name in world.server.created_jobs)


def test_a_deleted_run_takes_its_windows_along(make: Make) -> None:
    world = make(windowsPerPod=3)
    world.tell(until=lambda: len(world.server.worked) == 1)
    world.happen(1)
    del world.server.objects["DbtRun", world.server.created_runs[0]]
    world.tell()
    assert world.status["phase"] == "Failed"
    assert world.status["reason"] == "Unknown"
    assert world.server.worked == WEEK[:1]


def test_a_run_does_not_expire_before_its_end_was_read(make: Make) -> None:
    world = make(windowsPerPod=1, run={"ttlAfterFinished": "1s"})
    world.happen(3)
    world.server.work()
    world.now += timedelta(seconds=30)
    operator = world.operators[0]
    operator.hear("Pod", "Job")
    operator.keys[:] = [
        key for key in operator.keys if key.kind == "DbtRun"
    ]  # the backfill is late
    while not operator.at_rest:
        operator.keys[:] = [key for key in operator.keys if key.kind == "DbtRun"]
        operator.step()
    assert ("DbtRun", world.server.created_runs[0]) in world.server.objects
    world.tell()
    assert world.status["phase"] == "Succeeded"
    world.happen(10)
    assert not [name for kind, name in world.server.objects if kind == "DbtRun"]


def test_the_name_of_its_run_is_taken(make: Make) -> None:
    world = make()
    foreign = run()
    foreign["metadata"] |= {"name": "past-uid-of-d-1", "uid": "uid-of-foreign"}
    world.server.objects["DbtTarget", "prod"]["spec"]["maxConcurrentRuns"] = world.limit = 2
    world.add(foreign)
    world.tell()
    assert world.status["reason"] == "NameConflict"
    assert not [key for key in world.server.worked if key in WEEK]


def test_a_target_that_is_created_anew(make: Make) -> None:
    world = make(maxConcurrentWindows=2)
    world.tell(until=lambda: len(world.server.worked) == 2)
    world.server.recreate_target()
    world.tell()
    assert world.counted() == dict.fromkeys(WEEK, 1)
    assert world.status["phase"] == "Succeeded"


@pytest.mark.parametrize("name", ["DBT_PASSWORD", "DBT_EMPTY", "PGHOSTADDR", "BROWSER"])
def test_what_a_target_refuses_is_refused_at_once(make: Make, name: str) -> None:
    world = make(run={"env": [{"name": name, "value": "hunter2hunter2"}]})
    world.tell()
    assert f"({name})" in world.status["message"]
    assert world.status["reason"] == "InvalidSpec"
    assert world.server.created_runs == []


MARKED = {"labels": {"team": "finance"}, "annotations": {"note": "x"}}


def test_labels_that_the_target_does_not_list_are_refused_at_once(make: Make) -> None:
    world = make(run={"pod": MARKED})
    world.server.objects["DbtTarget", "prod"]["spec"]["allowedRunLabels"] = ["team"]
    world.tell()
    assert "spec.pod.annotations (note)" in world.status["message"]
    assert world.status["reason"] == "InvalidSpec"
    assert world.server.created_runs == []


def test_labels_that_the_target_lists_are_those_of_all_pods(make: Make) -> None:
    world = make(run={"pod": MARKED})
    world.server.objects["DbtTarget", "prod"]["spec"]["allowedRunLabels"] = ["team", "note"]
    world.tell(until=lambda: bool(world.server.pods))
    (name,) = world.server.created_runs
    assert world.server.objects["DbtRun", name]["spec"]["pod"] == MARKED
    (job,) = [each for (kind, _), each in world.server.objects.items() if kind == "Job"]
    metadata = job["spec"]["template"]["metadata"]
    assert metadata["labels"]["team"] == "finance"
    assert metadata["annotations"] == {"note": "x"}


def test_ten_thousand_windows_fit(make: Make) -> None:
    dates = {"from": "2024-01-01", "to": "2025-02-18", "every": "1h"}
    world = make(windows={"dates": dates}, maxConcurrentWindows=2)
    world.tell(until=lambda: len(world.server.worked) >= 150)
    assert world.status["windows"]["total"] == 9960
    assert len(world.status["ledger"]) < 210
    assert len(str(world.status)) < 100_000
    assert len(set(world.server.worked)) == len(world.server.worked)


def test_as_long_as_the_commit_of_a_branch_is_not_known_one_pod_works_alone(make: Make) -> None:
    world = make(maxConcurrentWindows=2, windowsPerPod=2)
    project = world.server.objects["DbtProject", "shop"]
    project["spec"]["source"] = {"git": {"url": "https://git.example.com/shop", "ref": "main"}}
    world.server.touch(project)
    world.happen(4)
    assert len(world.server.created_runs) == 1
    first = world.server.objects["DbtRun", world.server.created_runs[0]]
    first["status"]["commit"] = "c" * 40
    world.server.touch(first)
    world.happen(2)
    assert world.status["commit"] == "c" * 40
    assert len(world.server.created_runs) == 2
    world.tell()
    commits = {world.status_of(name, "DbtRun")["commit"] for name in world.server.created_runs}
    assert commits == {"c" * 40}


def test_windows_that_ran_another_image_fail(make: Make) -> None:
    world = make(windowsPerPod=3)
    world.tell(until=lambda: len(world.server.worked) == 3)
    world.server.image_id = "sha256:moved"
    world.tell()
    assert world.status["reason"] == "ConfigError"
    assert (
        "the tag was moved since the first pod, from sha256:abc to sha256:moved"
        in world.status["message"]
    )


@pytest.mark.parametrize(
    ("run_spec", "windows", "message"),
    [
        ({"vars": {"ds": "2024-01-01"}}, None, "every window would do the same"),
        (
            {"vars": {"ds": "$(window.from)"}},
            None,
            "spec.runTemplate.spec.vars.ds: $(window.from) means nothing",
        ),
        (
            {"vars": {"a": ["$(window.start)"]}},
            {"keys": ["a"]},
            "vars.a[0]: $(window.start) means nothing: there is",
        ),
        (
            {"env": [{"name": "DAY", "value": "$(window.start)"}]},
            None,
            "env[0].value: $(window.start) means nothing",
        ),
    ],
)
def test_placeholders_that_mean_nothing_are_refused(
    make: Make, run_spec: dict[str, Any], windows: dict[str, Any] | None, message: str
) -> None:
    world = make(run=run_spec, **({"windows": windows} if windows else {}))
    world.tell()
    assert world.status["reason"] == "InvalidSpec"
    assert message in world.status["message"]


def test_windows_are_compared_with_the_state_that_was_current_at_the_beginning(make: Make) -> None:
    state = {"from": {"target": "prod"}, "defer": True, "onMissing": "Fail"}
    without = make(run={"state": state})
    without.tell()
    assert without.status["reason"] == "MissingState"
    world = make(run={"state": state}, windowsPerPod=3)
    entry = {"target": "prod", "run": "r", "key": "dbt/state/1", "at": "2026-01-01T00:00:00Z"}
    project = world.server.objects["DbtProject", "shop"]
    project["status"]["states"] = [entry]
    world.server.touch(project)
    world.tell(until=lambda: len(world.server.worked) == 1)
    project["status"]["states"] = [entry | {"key": "dbt/state/2"}]
    world.server.touch(project)
    world.tell()
    plans = [world.server.plan(pod) for pod in world.server.pods]
    assert {(plan.state, "--defer" in plan.steps[0].argv) for plan in plans} == {
        ("dbt/state/1", True)
    }


# Killed, at every write of every path


def _writes(**options: Any) -> int:
    world = BackfillWorld(**options)
    world.tell()
    world.stop()
    return world.writes


PATHS: dict[str, dict[str, Any]] = {
    "two-at-a-time": {"maxConcurrentWindows": 2},
    "a-pod-each": {
        "windowsPerPod": 1,
        "windows": {"dates": {"from": "2024-01-01", "to": "2024-01-03"}},
    },
}
CASES = [(name, number) for name, path in PATHS.items() for number in range(1, _writes(**path) + 1)]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("name", "number"), CASES, ids=[f"{name}-{number}" for name, number in CASES]
)
def test_killed_at_any_write_no_window_is_worked_through_twice(
    make: Make, name: str, number: int, after: bool
) -> None:
    world = make(kill_at=number, after=after, **PATHS[name])
    world.tell()
    assert world.status["phase"] == "Succeeded"
    assert set(world.counted().values()) == {1}
    assert set(world.states) == {"+"}
    assert len(world.server.created_jobs) == len(set(world.server.created_jobs))


@pytest.mark.parametrize("number", range(2, 40, 3))
def test_killed_while_a_window_fails(make: Make, number: int) -> None:
    world = make(kill_at=number, after=True, maxConcurrentWindows=2)
    world.server.failing = {"2024-01-03"}
    world.tell()
    assert world.status["phase"] == "Failed"
    assert max(world.counted().values()) == 1


def test_two_operators_at_once(make: Make) -> None:
    world = make(maxConcurrentWindows=2)
    world.operators.append(world._operator())
    world.tell()
    assert world.counted() == dict.fromkeys(WEEK, 1)
    assert len(world.server.created_runs) == 2
