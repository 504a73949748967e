"""What is adopted by its name proves that it is what would have been created."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.backfill_world import BackfillWorld, days
from tests.support.builders import backfill, ended_status, pod_manifest, project, run, target
from tests.support.fake_cluster import Manifest
from tests.support.run_world import World

Make = Callable[..., BackfillWorld]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[BackfillWorld] = []

    def one(**options: Any) -> BackfillWorld:
        made.append(BackfillWorld(**options))
        return made[-1]

    yield one
    for world in made:
        world.stop()


def on_creation(world: BackfillWorld, change: Callable[[Manifest], None]) -> None:
    """Something happens to each run between its creation and the operator's next look."""
    create = world.server.create_run

    def created(manifest: Manifest) -> Manifest:
        name = create(manifest)["metadata"]["name"]
        change(world.server.objects["DbtRun", name])
        return copy.deepcopy(world.server.touch(world.server.objects["DbtRun", name]))

    world.server.create_run = created  # type: ignore[assignment]


WEEK = days(range(1, 8))
OTHERS = {
    "windows": lambda spec: spec | {"windows": spec["windows"][:-1]},
    "order": lambda spec: spec | {"windows": spec["windows"][::-1]},
    "steps": lambda spec: spec | {"steps": [{"build": {"select": ["orders"]}}]},
    "vars": lambda spec: spec | {"vars": {"ds": "2020-01-01"}},
    "no spec": lambda spec: spec | {"steps": [{"build": {}, "run": {}}]},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_a_run_of_the_backfill_itself_with_another_spec_has_done_none_of_its_windows(
    make: Make, other: Any
) -> None:
    """As after a status was lost: owner and name are right."""
    world = make()

    def change(found: Manifest) -> None:
        found["spec"] = other(found["spec"])
        found["status"] = {
            "phase": "Succeeded",
            "finishedAt": "2026-01-02T03:04:05Z",
            "windows": {"total": 7, "succeeded": 7, "done": "7/7", "states": "+++++++"},
        }

    on_creation(world, change)
    world.tell()
    assert (world.status["phase"], world.status["reason"]) == ("Failed", "NameConflict")
    assert world.server.created_runs[0] in world.status["message"]
    assert "exists that is not the one to be created" in world.status["message"]
    assert world.status["windows"]["succeeded"] == 0
    assert world.server.worked == []


def test_a_run_that_was_created_as_it_should_be_is_adopted_whatever_an_api_server_makes_of_it(
    make: Make,
) -> None:
    world = make()

    def change(found: Manifest) -> None:
        found["spec"] = dict(reversed(copy.deepcopy(found["spec"]).items())) | {"cancel": False}

    on_creation(world, change)
    world.tell()
    assert world.status["phase"] == "Succeeded"
    assert world.counted() == dict.fromkeys(WEEK, 1)


def test_a_run_that_cannot_be_read_any_more_has_its_windows_neither_done_nor_free(
    make: Make,
) -> None:
    world = make(maxConcurrentWindows=2)
    world.tell(until=lambda: len(world.server.worked) >= 2)
    name = world.server.created_runs[0]
    found = world.server.objects["DbtRun", name]
    before = found["status"]["windows"]
    found["status"] = copy.deepcopy(found["status"]) | {"windows": {"total": "many"}}
    world.server.touch(found)
    world.happen(4)
    assert world.status["phase"] == "Running"
    assert (
        f"DbtRun {name} cannot be read, so nobody knows what it has done: status.windows"
        in world.status["message"]
    )
    assert name in {each["name"] for each in world.status["runs"]}
    found["status"]["windows"] = before
    world.server.touch(found)
    world.tell()
    assert world.status["phase"] == "Succeeded"
    assert world.counted() == dict.fromkeys(WEEK, 1)


def test_runs_of_a_backfill_that_cannot_be_read_wait_for_it(make: Make) -> None:
    world = make()
    parent = world.server.objects["DbtBackfill", "past"]
    good: dict[str, Any] = {}

    def change(_: Manifest) -> None:
        good.update(copy.deepcopy(parent["status"]))
        parent["status"]["startedAt"] = "once"
        world.server.touch(parent)

    on_creation(world, change)
    world.happen(100)  # more than ten minutes
    (name,) = world.server.created_runs
    told = world.status_of(name, "DbtRun")
    assert told["phase"] == "Pending"
    assert "DbtBackfill past cannot be read: status.startedAt: " in told["message"]
    conditions = parent["status"].pop("conditions")
    assert (
        next(each for each in conditions if each["type"] == "Stalled")["reason"] == "InvalidStatus"
    )
    assert parent["status"] == {
        **{k: v for k, v in good.items() if k != "conditions"},
        "startedAt": "once",
    }
    parent["status"] = good
    world.server.touch(parent)
    world.tell()
    assert world.status["phase"] == "Succeeded"
    assert world.counted() == dict.fromkeys(WEEK, 1)


def test_a_backfill_says_that_what_it_resumes_cannot_be_read(make: Make) -> None:
    world = make()
    world.happen(2)
    world.server.objects["DbtBackfill", "past"]["status"]["startedAt"] = "once"
    world.server.touch(world.server.objects["DbtBackfill", "past"])
    world.add(backfill("again", resumeFrom={"name": "past"}))
    world.happen(3)
    told = world.status_of("again")
    assert told["phase"] == "Pending"
    assert "DbtBackfill past cannot be read: status.startedAt: " in told["message"]


# Jobs


def job_of(world: World) -> Manifest:
    world.settle()
    return world.cluster.objects["Job", "nightly-11111111-1"]


def restarted_before_the_job_was_recorded(world: World) -> None:
    attempt = world.status["attempts"][0]
    del attempt["jobUID"]
    world.cluster.objects["DbtRun", "nightly"]["metadata"]["resourceVersion"] = (
        world.cluster._next_version()
    )
    world.restart()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"argv":["build"]', '"argv":["build","--full-refresh"]'),
        ('"attempt":1', '"attempt":2'),
        ('"run_uid":"1111', '"run_uid":"2222'),
        ('"windows":[]', '"windows":[{"key":"a","values":{}}]'),
        ('"protocol":3', '"protocol":99'),
    ],
)
def test_a_job_of_the_run_that_does_something_else_is_not_adopted(old: str, new: str) -> None:
    world = World()
    job = job_of(world)
    (plan,) = (
        each
        for each in job["spec"]["template"]["spec"]["containers"][0]["env"]
        if "PLAN" in each["name"]
    )
    assert old in plan["value"]
    plan["value"] = plan["value"].replace(old, new)
    world.cluster.pods = [pod_manifest(job, ended_status())]
    restarted_before_the_job_was_recorded(world)
    world.settle()
    assert (world.status["phase"], world.status["reason"]) == ("Failed", "NameConflict")
    assert "nightly-11111111-1" in world.status["message"]


def test_a_job_that_an_api_server_and_webhooks_have_filled_in_is() -> None:
    world = World(run(vars={"price": "$5 $(PATH)"}), project(), target())
    job = job_of(world)
    job["spec"] |= {"suspend": False, "manualSelector": False}
    job["spec"]["template"]["spec"] |= {"dnsPolicy": "ClusterFirst"}
    job["spec"]["template"]["spec"]["containers"].insert(0, {"name": "injected", "image": "mesh"})
    restarted_before_the_job_was_recorded(world)
    world.settle()
    world.pod(ended_status())
    world.settle()
    assert world.status["phase"] == "Succeeded"
