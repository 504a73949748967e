"""What is too large for an object or for a process is refused before anybody holds a slot for
it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

from dbt_operator.cluster.errors import ClusterError, InvalidError, TooLargeError, translate_error
from dbt_operator.cluster.projection import has_ended
from dbt_operator.common.keys import Key
from dbt_operator.planning.attempt import sizes
from dbt_protocol.plans import PLAN_VARIABLE
from tests.support.backfill_world import BackfillWorld
from tests.support.builders import ended_status, project, run, running_status, target
from tests.support.run_world import TARGET, World

SMALL = Key("DbtRun", "analytics", "small")


def ids(number: int) -> dict[str, Any]:
    """As teams pass "accounts to leave out"."""
    return {"excluded_ids": [f"{n:08d}-1111-2222-3333-444455556666" for n in range(number)]}


def slim(steps: int) -> dict[str, Any]:
    return {"steps": [{"build": {"select": ["state:modified+"]}}] * steps, "state": {"defer": True}}


def with_state() -> dict[str, Any]:
    found = project()
    entry = {"target": "prod", "run": "earlier", "key": "dbt/state/a", "at": "2026-01-02T03:04:05Z"}
    found["status"] = {"states": [entry]}
    return found


def small() -> dict[str, Any]:
    found = run()
    found["metadata"] |= {"name": "small", "uid": "22222222-of-small"}
    return found


CASES = {
    "one variable": (
        run(vars=ids(1300), steps=[{"build": {}}, {"test": {}}, {"docs": {}}]),
        "spec.vars",
        "131,072",
    ),
    "twice with a state": (run(vars=ids(2500), **slim(8)), "spec.vars", "131,072"),
    "a state that is not there yet": (run(vars=ids(300), **slim(8)), "spec.vars", "131,072"),
    "selections": (
        run(steps=[{"build": {"select": ["a" * 1000] * 20}}] * 8),
        "spec.steps",
        "131,072",
    ),
}


@pytest.mark.parametrize(("manifest", "field", "limit"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("of", [project, with_state])
def test_a_run_that_fits_nowhere_says_so_and_holds_up_nobody(
    manifest: dict[str, Any], field: str, limit: str, of: Any
) -> None:
    world = World(copy.deepcopy(manifest), small(), of(), target())
    world.settle()
    assert (world.status["phase"], world.status["reason"]) == ("Failed", "InvalidSpec")
    assert world.status["message"].startswith(f"{field}: ")
    assert limit in world.status["message"]
    assert "take fewer steps" in world.status["message"]
    world.woken = [SMALL, TARGET]
    world.settle()
    assert world.cluster.created_jobs == ["small-22222222-1"]


def test_what_fits_is_run() -> None:
    world = World(
        run(vars=ids(900), steps=[{"build": {}}, {"test": {}}, {"docs": {}}]), project(), target()
    )
    world.settle()
    (job,) = (m for (kind, _), m in world.cluster.objects.items() if kind == "Job")
    plans = [
        v["value"]
        for v in job["spec"]["template"]["spec"]["containers"][0]["env"]
        if v["name"] == PLAN_VARIABLE
    ]
    assert len(f"{PLAN_VARIABLE}={plans[0]}\0".encode()) < sizes.VARIABLE_BYTES


def test_resolved_is_weighed_as_a_whole() -> None:
    pod = {"affinity": {"text": "a" * 600_000}}
    world = World(run(), project(pod=pod), target())
    world.settle()
    assert (world.status["phase"], world.status["reason"]) == ("Failed", "InvalidSpec")
    assert "524,288" in world.status["message"]


@pytest.fixture
def worlds() -> Iterator[list[BackfillWorld]]:
    made: list[BackfillWorld] = []
    yield made
    for world in made:
        world.stop()


@pytest.mark.parametrize(
    ("template", "windows"),
    [
        (
            {
                "vars": ids(1300) | {"ds": "$(window.start)"},
                "steps": [{"build": {}}, {"test": {}}, {"docs": {}}],
            },
            1,
        ),
        ({"vars": ids(2900) | {"ds": "$(window.start)"}}, 100),  # only with its windows
    ],
)
def test_a_backfill_that_fits_nowhere_says_so(
    template: dict[str, Any], windows: int, worlds: list[BackfillWorld]
) -> None:
    dates = {"from": "2024-01-01", "to": "2024-12-31"}
    world = BackfillWorld(run=template, windows={"dates": dates}, windowsPerPod=windows)
    worlds.append(world)
    world.happen(3)
    assert (world.status["phase"], world.status["reason"]) == ("Failed", "InvalidSpec")
    assert world.status["message"].startswith("spec.runTemplate.spec.vars: ")
    assert not world.server.created_runs
    assert not world.server.objects["DbtTarget", "prod"]["status"].get("holders")


def test_the_same_with_fewer_windows_in_a_pod_is_run(worlds: list[BackfillWorld]) -> None:
    template = {"vars": ids(2900) | {"ds": "$(window.start)"}}
    world = BackfillWorld(run=template, windowsPerPod=1)
    worlds.append(world)
    world.tell()
    assert world.status["phase"] == "Succeeded"


# What is too large all the same


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (500, "etcdserver: request is too large", TooLargeError),
        (
            500,
            (
                "rpc error: code = ResourceExhausted desc = trying to send message larger than max "
                "(4 vs. 2)"
            ),
            TooLargeError,
        ),
        (413, "Request entity too large: limit is 3145728", TooLargeError),
        (500, "etcdserver: mvcc: database space exceeded", ClusterError),
        (503, "apiserver is shutting down", ClusterError),
        (422, "metadata.name is too large", InvalidError),
    ],
)
def test_an_answer_that_says_too_large_is_known(
    status: int, message: str, expected: type[ClusterError]
) -> None:
    assert (
        type(translate_error(status, "Reason", json.dumps({"message": message}).encode()))
        is expected
    )


def weight(world: World) -> int:
    return len(json.dumps(world.cluster.objects["DbtRun", "nightly"]))


def test_a_run_whose_status_cannot_be_written_at_admission_ends_and_frees_the_slot() -> None:
    world = World(run(vars=ids(100)), small(), project(), target())
    world.cluster.largest = weight(world) + 4000
    world.settle()
    assert (world.status["phase"], world.status["reason"]) == ("Failed", "InvalidSpec")
    assert "too large" in world.status["message"]
    assert "spec.vars" in world.status["message"]
    world.cluster.largest = 1_500_000
    world.woken = [SMALL, TARGET]
    world.settle()
    assert world.cluster.created_jobs == ["small-22222222-1"]


def test_one_whose_status_grew_too_large_is_stopped_before_it_ends() -> None:
    world = World(run(vars=ids(100)), project(), target())
    world.settle()
    world.cluster.largest = weight(world) + 10
    world.pod(running_status())
    world.settle()
    assert world.cluster.deleted_jobs == ["nightly-11111111-1"]
    assert not has_ended(world.cluster.objects["DbtRun", "nightly"])
    before = dict(world.status)
    world.cluster.pods = []
    for kind in ("Job", "Pod"):
        world.store.retain(kind, (), "99999")
    world.settle()
    assert (world.status["phase"], world.status["reason"]) == ("Failed", "InvalidSpec")
    assert world.status["attempts"] == before["attempts"]
    assert "resolved" not in world.status, "else there was no room for an end"
    world.woken = [TARGET]
    world.settle()
    assert world.cluster.objects["DbtTarget", "prod"]["status"]["holders"] == []


def test_a_job_that_is_too_large_ends_in_an_error_that_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()

    def refuse(_: Any) -> NoReturn:
        raise translate_error(413, "Payload Too Large", b'{"message": "Request entity too large"}')

    monkeypatch.setattr(world.cluster, "create_job", refuse)
    world.settle()
    assert "the Job cannot be created: 413" in world.status["message"]


def test_a_backfill_whose_status_cannot_be_written_ends(worlds: list[BackfillWorld]) -> None:
    world = BackfillWorld(windows={"dates": {"from": "2024-01-01", "to": "2024-12-31"}})
    worlds.append(world)
    world.server.largest = len(json.dumps(world.server.objects["DbtBackfill", "past"])) + 5000
    world.happen(3)
    assert (world.status["phase"], world.status["reason"]) == ("Failed", "InvalidSpec")
    assert "too large" in world.status["message"]


def test_a_state_that_does_not_fit_into_its_project_keeps_no_run_from_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    world.settle()
    world.pod(ended_status())
    patch = world.cluster.patch_status

    def refuse(kind: str, manifest: Any, status: Any) -> Any:
        if "states" in status:
            raise translate_error(
                422, "Unprocessable Entity", b'{"message": "status.states: Too many: 257"}'
            )
        return patch(kind, manifest, status)

    monkeypatch.setattr(world.cluster, "patch_status", refuse)
    world.settle()
    assert world.status["phase"] == "Succeeded"
    (lost,) = (event for event in world.cluster.events if event.reason == "StateNotPromoted")
    assert "Too many" in lost.message
