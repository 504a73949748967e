"""Runs that wait for a slot of their target, as their status tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.support.builders import ended_status, project, summary, target
from tests.support.simulation import EVERYTHING, World, lives

UNAVAILABLE = summary("Unavailable", "the warehouse could not be reached")
TWICE = {"retry": {"maxAttempts": 2, "backoff": {"initial": "10m"}}}


@pytest.fixture
def make() -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def of(runs: int = 2, limit: int = 1, **spec: Any) -> World:
        made.append(World(runs=runs, operators=1, limit=limit, **spec))
        return made[-1]

    yield of
    for world in made:
        world.stop()


def go_on(world: World, seconds: float = 0, times: int = 5) -> None:
    """Time passes, and then everybody does what there is to be done."""
    world.now += timedelta(seconds=seconds)
    for _ in range(times):
        world.operators[0].hear(*EVERYTHING)
        world.operators[0].rest()
        world.cluster()


def status(world: World, name: str) -> dict[str, Any]:
    found: dict[str, Any] = world.server.objects["DbtRun", name]["status"]
    return found


def of_target(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.server.objects["DbtTarget", "prod"]["status"]
    return found


def set_spec(world: World, name: str, **spec: Any) -> None:
    manifest = world.server.objects["DbtRun", name]
    manifest["spec"] |= spec
    world.server.touch(manifest)


def test_a_run_says_where_it_stands_and_whom_it_waits_for(make: Callable[..., World]) -> None:
    world = make(runs=3)
    go_on(world)
    assert world.phases() == {"run-0": "Running", "run-1": "Queued", "run-2": "Queued"}
    queue = status(world, "run-2")["queue"]
    assert (queue["position"], queue["behind"]) == (2, ["run-0", "run-1"])
    assert status(world, "run-2")["message"] == (
        "waiting for a slot of DbtTarget prod: number 2 in the queue, behind run-0, run-1"
    )
    assert of_target(world)["queued"] == 2
    conditions = {
        c["type"]: (c["status"], c["reason"]) for c in status(world, "run-2")["conditions"]
    }
    assert conditions["Admitted"] == ("Unknown", "Queued")
    assert conditions["Reconciling"] == ("True", "Queued")


def test_the_end_of_a_run_starts_the_next_one_at_once(make: Callable[..., World]) -> None:
    world = make()
    go_on(world)
    world.server.end_pods()
    go_on(world, times=6)
    assert world.phases() == {"run-0": "Succeeded", "run-1": "Running"}
    assert "queue" not in status(world, "run-1")
    assert [holder["name"] for holder in of_target(world)["holders"]] == ["run-1"]
    assert of_target(world)["queued"] == 0


def test_a_position_is_written_at_most_once_a_minute(make: Callable[..., World]) -> None:
    world = make(runs=3)
    go_on(world)
    set_spec(world, "run-1", cancel=True)
    go_on(world, 30)
    assert world.phases()["run-1"] == "Cancelled"
    assert status(world, "run-2")["queue"]["position"] == 2
    go_on(world, 31)
    assert status(world, "run-2")["queue"]["position"] == 1


def test_who_waits_for_longer_than_it_may_ends_in_queue_timeout(make: Callable[..., World]) -> None:
    world = make(queueTimeout="1h")
    go_on(world)
    go_on(world, 3599)
    assert world.phases()["run-1"] == "Queued"
    go_on(world, 2)
    assert (status(world, "run-1")["phase"], status(world, "run-1")["reason"]) == (
        "Failed",
        "QueueTimeout",
    )
    assert "behind run-0, for longer than queueTimeout allows" in status(world, "run-1")["message"]
    assert not status(world, "run-1").get("attempts")


def test_a_queued_run_that_is_cancelled_or_deleted_leaves_the_queue(
    make: Callable[..., World],
) -> None:
    world = make(runs=4)
    go_on(world)
    set_spec(world, "run-1", cancel=True)
    del world.server.objects["DbtRun", "run-2"]
    go_on(world)
    world.server.end_pods()
    go_on(world)
    assert world.phases() == {"run-0": "Succeeded", "run-1": "Cancelled", "run-3": "Running"}


def test_a_holder_that_is_deleted_frees_its_slot_once_its_pod_has_ended(
    make: Callable[..., World],
) -> None:
    world = make()
    go_on(world)
    del world.server.objects["DbtRun", "run-0"]
    go_on(world, 5)
    assert world.phases() == {"run-1": "Queued"}
    assert [holder["name"] for holder in of_target(world)["holders"]] == ["run-0"]
    world.server.end_pods()
    go_on(world, 5)
    assert world.phases() == {"run-1": "Running"}


def test_project_and_target_are_resolved_when_the_run_has_its_turn(
    make: Callable[..., World],
) -> None:
    world = make()
    go_on(world)
    world.server.objects["DbtProject", "shop"]["spec"]["image"] = "registry.example.com/dbt:2.0"
    world.server.touch(world.server.objects["DbtProject", "shop"])
    world.server.end_pods()
    go_on(world)
    assert status(world, "run-0")["resolved"]["image"] == "registry.example.com/dbt:1.0"
    assert status(world, "run-1")["resolved"]["image"] == "registry.example.com/dbt:2.0"


def test_what_is_missing_in_its_turn_gets_the_time_that_a_pod_has_to_start(
    make: Callable[..., World],
) -> None:
    world = make()
    go_on(world)
    go_on(world, 7200)
    del world.server.objects["DbtProject", "shop"]
    go_on(world)
    assert (
        status(world, "run-1")["message"]
        == "waiting: DbtProject shop not found in namespace analytics"
    )
    world.server.objects["DbtProject", "shop"] = world.server.touch(project())
    world.server.end_pods()
    go_on(world)
    assert world.phases()["run-1"] == "Running"


def failing(world: World) -> None:
    go_on(world)
    for pod in world.server.pods:
        if lives(pod):
            pod["status"] = ended_status(1, UNAVAILABLE)
            world.server.touch(pod)
    go_on(world)
    assert world.phases()["run-0"] == "BackingOff"


def test_a_run_that_backs_off_keeps_its_slot(make: Callable[..., World]) -> None:
    world = make(**TWICE)
    failing(world)
    assert world.phases()["run-1"] == "Queued"
    go_on(world, 700)
    assert world.phases() == {"run-0": "Running", "run-1": "Queued"}


def test_unless_a_run_of_higher_priority_is_queued_and_takes_its_turn_after_it(
    make: Callable[..., World],
) -> None:
    world = make(**TWICE)
    failing(world)
    urgent = world._run(2, {"priority": 5})
    world.server.objects["DbtRun", "run-2"] = world.server.touch(urgent)
    go_on(world, 5)
    assert world.phases() == {"run-0": "BackingOff", "run-1": "Queued", "run-2": "Running"}
    assert status(world, "run-0")["message"].endswith("its slot goes to a run of higher priority")
    go_on(world, 700)
    assert world.phases()["run-0"] == "Queued"
    world.server.end_pods()
    go_on(world, times=6)
    assert world.phases() == {"run-0": "Running", "run-1": "Queued", "run-2": "Succeeded"}
    assert len(status(world, "run-0")["attempts"]) == 2
    assert "reason" not in status(world, "run-0")


def test_the_time_of_a_run_may_be_over_before_it_gets_its_next_slot(
    make: Callable[..., World],
) -> None:
    world = make(runs=1, timeout="1h", **TWICE)
    failing(world)
    urgent = world._run(2, {"priority": 5})
    world.server.objects["DbtRun", "run-2"] = world.server.touch(urgent)
    go_on(world, 5)
    go_on(world, 3700)
    assert (status(world, "run-0")["phase"], status(world, "run-0")["reason"]) == (
        "Failed",
        "Timeout",
    )
    assert status(world, "run-0")["attempts"][0]["reason"] == "Unavailable"


def lost(world: World) -> None:
    """The node of run-0 has gone silent: its pod was deleted, and nobody can say that it has
    ended.
    """
    go_on(world)
    (pod,) = [pod for pod in world.server.pods if lives(pod)]
    pod["metadata"]["deletionTimestamp"] = "2026-01-02T03:05:00Z"
    pod["spec"]["nodeName"] = "node-a"
    world.server.touch(pod)
    go_on(world, 90)


def test_a_pod_on_a_lost_node_holds_its_slot_and_who_waits_says_so(
    make: Callable[..., World],
) -> None:
    world = make()
    lost(world)
    assert world.phases() == {"run-0": "Running", "run-1": "Queued"}
    found = status(world, "run-1")
    assert found["reason"] == "SlotHeldByLostNode"
    assert "on node node-a should have ended" in found["message"]
    assert "dbt-operator.dev/force-release" in found["message"]
    assert "node-a" in of_target(world)["holders"][0]["lostPod"]


def test_the_annotation_releases_it_and_ends_the_run_that_held_it(
    make: Callable[..., World],
) -> None:
    world = make(**TWICE)
    lost(world)
    manifest = world.server.objects["DbtTarget", "prod"]
    manifest["metadata"]["annotations"] = {
        "dbt-operator.dev/force-release": of_target(world)["holders"][0]["uid"]
    }
    world.server.touch(manifest)
    world.limit = 2  # for this test's count: the lost pod and the next one
    go_on(world, times=6)
    assert world.phases() == {"run-0": "Failed", "run-1": "Running"}
    assert status(world, "run-0")["reason"] == "Infrastructure"
    assert [release["name"] for release in of_target(world)["released"]] == ["run-0"]
    assert "reason" not in status(world, "run-1")


def test_raising_the_number_of_slots_starts_who_waits(make: Callable[..., World]) -> None:
    world = make(runs=3)
    go_on(world)
    world.limit = 3
    fresh = target(maxConcurrentRuns=3)["spec"]
    world.server.objects["DbtTarget", "prod"]["spec"] = fresh
    world.server.touch(world.server.objects["DbtTarget", "prod"])
    go_on(world)
    assert set(world.phases().values()) == {"Running"}
