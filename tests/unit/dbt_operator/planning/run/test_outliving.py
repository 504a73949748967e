"""Runs in whose pods somebody else's container goes on after dbt and the upload have ended."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest

from tests.support.builders import later, project, run, summary, target
from tests.support.injected import RUNNING, inject, living_status, terminated
from tests.support.run_world import World

VERSIONS = itertools.count(10_000)
UNAVAILABLE = terminated(65, summary("Unavailable"), 1)
RETRIED = {"retry": {"maxAttempts": 2, "backoff": {"initial": "1m"}}}


def show(world: World, status: dict[str, Any], *, deleting: bool = False) -> None:
    """The kubelet reports on the newest pod, which has an injected container."""
    world.pod(status)
    pod = inject(world.cluster.pods[-1])
    pod["spec"]["nodeName"] = "node-a"
    if deleting:
        pod["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:09Z"
    tell(world)


def tell(world: World) -> None:
    """The watch tells of the newest pod as it is now."""
    pod = copy.deepcopy(world.cluster.pods[-1])
    pod["metadata"]["resourceVersion"] = str(next(VERSIONS))
    world.store.put("Pod", pod)


def end_pod(world: World) -> None:
    """All its containers have ended, and it is gone."""
    gone = world.cluster.pods.pop()
    gone["metadata"]["resourceVersion"] = str(next(VERSIONS))
    world.store.bury("Pod", gone)


def holders(world: World) -> list[str]:
    found = world.cluster.objects["DbtTarget", "prod"]["status"].get("holders") or ()
    return [holder["name"] for holder in found]


def running(**spec: Any) -> World:
    world = World(run(**spec), project(), target())
    world.settle()
    show(world, living_status({"state": RUNNING}, dbt=RUNNING))
    world.settle()
    assert world.status["phase"] == "Running"
    return world


def test_the_run_ends_as_dbt_ended_then_the_pod_is_ended_and_then_the_slot_is_free() -> None:
    world = running()
    show(world, living_status())
    world.settle()
    assert (world.status["phase"], world.status["artifacts"]["objects"]) == ("Succeeded", 9)
    assert world.cluster.deleted_pods
    assert holders(world) == ["nightly"]
    end_pod(world)
    world.settle()
    assert holders(world) == []


@pytest.mark.parametrize("restarts", [0, 1, 2])
def test_it_does_not_matter_what_the_operator_has_missed(restarts: int) -> None:
    """It was away between the sidecar's end and its restart."""
    world = running()
    again = {"running": {"startedAt": "2026-01-02T03:06:00Z"}}
    report = living_status()["initContainerStatuses"][1]["state"]
    sidecar = [{"state": report}, {"state": again, "lastState": report}]
    show(world, living_status([*sidecar, {"state": report, "lastState": report}][restarts]))
    world.restart()
    world.settle()
    assert world.status["phase"] == "Succeeded"
    assert world.cluster.deleted_pods


@pytest.mark.parametrize("number", range(1, 5))
@pytest.mark.parametrize("after", [False, True])
def test_the_end_is_written_before_the_pod_is_told_to_end(number: int, after: bool) -> None:
    world = running()
    show(world, living_status())
    world.cluster.kill_at(world.cluster.writes + number, after=after)

    def check(_: int) -> None:
        assert not world.cluster.deleted_pods or world.status["phase"] == "Succeeded"

    if after:
        world.cluster.before_write = check
    else:
        world.cluster.after_write = check
    world.settle()
    assert world.status["phase"] == "Succeeded"
    assert world.cluster.deleted_pods


def test_no_attempt_begins_beside_a_pod_that_lives_on() -> None:
    world = running(**RETRIED)
    show(world, living_status(dbt=UNAVAILABLE))
    world.settle()
    assert world.status["phase"] == "BackingOff"
    assert world.cluster.deleted_pods
    world.now = later(300)
    tell(world)
    world.settle()
    assert len(world.cluster.created_jobs) == 1
    end_pod(world)
    world.settle()
    assert len(world.cluster.created_jobs) == 2


def test_a_cancelled_run_ends_as_well() -> None:
    world = running()
    manifest = world.cluster.objects["DbtRun", "nightly"]
    manifest["spec"]["cancel"] = True
    manifest["metadata"]["resourceVersion"] = world.cluster._next_version()
    world.store.put("DbtRun", manifest)
    world.settle()
    world.settle()
    assert world.cluster.deleted_pods
    stopped = living_status(dbt=terminated(65, summary("Cancelled"), 2))
    show(world, stopped, deleting=True)
    world.settle()
    assert world.status["phase"] == "Cancelled"
    assert holders(world) == ["nightly"]
    end_pod(world)
    world.settle()
    assert holders(world) == []


def test_an_upload_that_does_not_end_is_ended() -> None:
    """A sidecar of an older version, which was killed and started again, waits for a SIGTERM."""
    world = running()
    waits = {"state": RUNNING, "lastState": terminated(20, "", 137, "OOMKilled")}
    show(world, living_status(waits))
    world.now = later(65 + 119)
    world.settle()
    assert not world.cluster.deleted_pods
    world.now = later(65 + 120)
    world.settle()
    assert world.cluster.deleted_pods
    assert world.status["phase"] == "Running"
    show(world, living_status({"state": terminated(187, "", 143)}), deleting=True)
    world.settle()
    assert world.status["phase"] == "Succeeded"


def test_a_run_that_gives_up_does_not_wait_for_a_pod_that_a_finalizer_keeps() -> None:
    """The pod was deleted before any node had it, and its Job stays as long as it does."""
    world = World(run(startTimeout="1m"), project(), target())
    world.settle()
    world.pod({"phase": "Pending"})
    job = world.cluster.objects["Job", world.cluster.created_jobs[-1]]
    world.now = later(90)
    world.settle()
    assert world.cluster.deleted_jobs
    job["metadata"] |= {"deletionTimestamp": "2026-01-02T03:04:09Z", "resourceVersion": "900"}
    world.cluster.objects["Job", job["metadata"]["name"]] = job
    world.store.put("Job", job)
    world.cluster.pods[-1]["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:09Z"
    tell(world)
    world.settle()
    assert (world.status["phase"], world.status["reason"]) == ("Failed", "Infrastructure")
    assert holders(world) == []


def test_the_pod_of_somebody_elses_job_is_left_alone() -> None:
    world = running()
    show(world, living_status())
    world.settle()
    tell(world)
    deleted = list(world.cluster.deleted_pods)
    other = inject({**world.cluster.pods[-1], "spec": {}})
    other["metadata"] = {
        **other["metadata"],
        "uid": "another",
        "name": "another",
        "ownerReferences": [{"kind": "Job", "uid": "of-another", "controller": True}],
    }
    other["metadata"].pop("deletionTimestamp", None)
    world.store.put("Pod", other)
    world.settle()
    assert world.cluster.deleted_pods == deleted
