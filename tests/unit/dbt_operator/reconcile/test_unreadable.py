"""Objects that the models refuse: what their status says stays, they say why they stand still, and
others go on.
"""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from dbt_operator.api.kinds.run import Attempt
from dbt_operator.cluster.projection import has_ended
from dbt_operator.common.keys import Key
from dbt_operator.planning.run import planner as run_planner
from dbt_operator.reconcile.write import keep_unknown
from tests.support.builders import backfill, ended_status, project, run, running_status, target
from tests.support.run_world import RUN, TARGET, World

WRONG_STEPS: list[dict[str, Any]] = [{"build": {}, "run": {}}]
BACKFILL = Key("DbtBackfill", "analytics", "past")
PROJECT = Key("DbtProject", "analytics", "shop")


def edit(world: World, kind: str, name: str, **parts: Any) -> None:
    """Somebody writes an object past the models, and the watch tells."""
    manifest = world.cluster.objects[kind, name]
    for part, values in parts.items():
        manifest[part] = manifest.get(part, {}) | copy.deepcopy(values)
    manifest["metadata"]["resourceVersion"] = world.cluster._next_version()
    world.store.put(kind, copy.deepcopy(manifest))


def conditions(
    world: World, kind: str = "DbtRun", name: str = "nightly"
) -> dict[str, dict[str, Any]]:
    return {
        each["type"]: each for each in world.cluster.objects[kind, name]["status"]["conditions"]
    }


def begun(pod: dict[str, Any] | None = None) -> World:
    world = World()
    world.settle()
    if pod is not None:
        world.pod(pod)
        world.settle()
    return world


# A wrong spec


def test_a_wrong_spec_removes_nothing_from_a_status_and_lets_dbt_come_to_its_end() -> None:
    world = begun(running_status())
    before = copy.deepcopy(world.status)
    edit(world, "DbtRun", "nightly", spec={"steps": WRONG_STEPS})
    world.settle()
    assert {name: world.status.get(name) for name in before if name != "conditions"} == {
        name: value for name, value in before.items() if name != "conditions"
    }
    stalled = conditions(world)["Stalled"]
    assert (stalled["status"], stalled["reason"]) == ("True", "InvalidSpec")
    assert stalled["message"].startswith("spec.steps.0: ")
    assert {"Admitted", "Finished"} <= set(conditions(world))
    assert world.cluster.objects["DbtTarget", "prod"]["status"]["holders"]
    assert not world.cluster.deleted_jobs

    world.pod(ended_status())
    world.cluster.objects["Job", "nightly-11111111-1"]["status"] = {
        "conditions": [{"type": "Complete", "status": "True"}]
    }
    world.settle()
    assert (world.status["phase"], world.status["reason"]) == ("Failed", "InvalidSpec")
    assert world.status["attempts"] == before["attempts"]
    assert world.status["resolved"] == before["resolved"]
    assert world.cluster.objects["DbtTarget", "prod"]["status"]["holders"] == []


def test_a_job_whose_pod_has_not_begun_is_deleted_before_a_wrong_spec_ends_the_run() -> None:
    world = begun()
    edit(world, "DbtRun", "nightly", spec={"steps": WRONG_STEPS})
    world.settle()
    assert world.cluster.deleted_jobs == ["nightly-11111111-1"]
    assert not has_ended(world.cluster.objects["DbtRun", "nightly"])
    world.settle()
    assert world.status["phase"] == "Failed"
    assert len(world.status["attempts"]) == 1


@pytest.mark.parametrize(
    ("key", "manifest", "spec"),
    [
        (PROJECT, project(), {"source": "none"}),
        (TARGET, target(), {"profiles": {"secretRef": {"name": "warehouse"}}}),
        (BACKFILL, backfill(), {"runTemplate": {"spec": {"steps": WRONG_STEPS}}}),
    ],
)
def test_a_wrong_spec_of_another_kind_stands_beside_what_its_status_says(
    key: Key, manifest: dict[str, Any], spec: dict[str, Any]
) -> None:
    told: dict[Key, dict[str, Any]] = {
        PROJECT: {
            "states": [{"target": "prod", "run": "a", "key": "b", "at": "2026-01-02T03:04:05Z"}]
        },
        TARGET: {"queued": 3, "holders": []},
        BACKFILL: {"phase": "Running", "runsStarted": 4, "startedAt": "2026-01-02T03:04:05Z"},
    }
    template = manifest["spec"].get("runTemplate", {}).get("spec", {})
    wrong = (
        {"runTemplate": {"spec": template | {"steps": WRONG_STEPS}}} if key is BACKFILL else spec
    )
    given = copy.deepcopy(manifest | {"spec": manifest["spec"] | wrong, "status": told[key]})
    world = World(given)
    world.woken = [key]
    world.reconciler.reconcile(key)
    status = world.cluster.objects[key.kind, key.name]["status"]
    assert status | told[key] == status
    (stalled,) = (each for each in status["conditions"] if each["type"] == "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "InvalidSpec")
    writes = world.cluster.writes
    world.now += timedelta(minutes=5)
    assert world.reconciler.reconcile(key) is None
    assert world.cluster.writes == writes, "said once"


# A status that cannot be read


def test_nothing_is_written_over_a_status_that_cannot_be_read_but_why() -> None:
    world = begun(running_status())
    attempts = [{"number": "one", "jobName": "a", "createdAt": "2026-01-02T03:04:05Z"}]
    edit(world, "DbtRun", "nightly", status={"attempts": attempts})
    before = copy.deepcopy(world.status)
    world.settle()
    stalled = conditions(world)["Stalled"]
    assert (stalled["status"], stalled["reason"]) == ("True", "InvalidStatus")
    assert stalled["message"].startswith("status.attempts.0.number: ")
    for name in ("conditions",):
        before.pop(name)
    assert {name: value for name, value in world.status.items() if name != "conditions"} == before
    assert "Admitted" in conditions(world)
    writes = world.cluster.writes
    world.settle()
    assert world.cluster.writes == writes, "said once"


def test_an_edit_beside_a_status_that_cannot_be_read_has_been_seen() -> None:
    world = begun(running_status())
    attempts = [{"number": "one", "jobName": "a", "createdAt": "2026-01-02T03:04:05Z"}]
    edit(world, "DbtRun", "nightly", status={"attempts": attempts}, metadata={"generation": 2})
    world.settle()
    assert world.status["observedGeneration"] == 2
    assert conditions(world)["Stalled"]["observedGeneration"] == 2


def test_conditions_that_cannot_be_read_stay_beside_those_that_say_so() -> None:
    world = begun()
    odd = [
        {"type": "Ready", "status": "Perhaps"},
        {"type": "Odd", "status": "True", "lastTransitionTime": "once"},
    ]
    edit(world, "DbtRun", "nightly", status={"conditions": odd})
    assert world.reconciler.reconcile(RUN) is None
    found = conditions(world)
    assert found["Stalled"]["message"].startswith("status.conditions.0.status: ")
    assert found["Ready"]["status"] == "False"
    assert found["Odd"] == odd[1]
    world.settle()
    writes = world.cluster.writes
    assert world.reconciler.reconcile(RUN) is None
    assert world.cluster.writes == writes, "said once"


@pytest.mark.parametrize(
    "time",
    ["yesterday", "2026-01-02T03:04:05", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"],
)
def test_a_time_that_is_none_is_told_by_its_field(time: str) -> None:
    world = World()
    edit(world, "DbtRun", "nightly", status={"startedAt": time})
    world.settle()
    assert conditions(world)["Stalled"]["message"].startswith("status.startedAt: ")


def test_a_run_that_cannot_be_read_stops_nobody_else_on_its_target() -> None:
    broken = run()
    broken["metadata"] |= {"name": "broken", "uid": "uid-of-broken"}
    broken["status"] = {
        "phase": "Queued",
        "queue": {"position": 1, "behind": [], "since": "once", "at": "once"},
    }
    world = World(broken, run(), project(), target())
    world.woken.append(Key("DbtRun", "analytics", "broken"))
    world.settle()
    assert world.status["phase"] == "Pending"
    assert world.cluster.created_jobs == ["nightly-11111111-1"]
    assert conditions(world, name="broken")["Stalled"]["reason"] == "InvalidStatus"


def test_what_has_ended_is_not_said_to_have_ended_otherwise() -> None:
    ended = run(steps=WRONG_STEPS, ttlAfterFinished="1s")
    ended["status"] = {"phase": "Succeeded", "finishedAt": "2026-01-02T03:00:00Z"}
    world = World(ended, project(), target())
    world.settle()
    assert world.status["phase"] == "Succeeded"


# What an object refers to


@pytest.mark.parametrize(
    ("kind", "name", "parts", "field"),
    [
        ("DbtProject", "shop", {"spec": {"source": "none"}}, "spec.source"),
        ("DbtProject", "shop", {"status": {"states": "none"}}, "status.states"),
        ("DbtTarget", "prod", {"spec": {"profiles": "none"}}, "spec.profiles"),
        ("DbtTarget", "prod", {"status": {"queued": "many"}}, "status.queued"),
    ],
)
def test_a_run_says_what_of_its_references_cannot_be_read_and_waits_for_it(
    kind: str, name: str, parts: dict[str, Any], field: str
) -> None:
    world = World()
    good = copy.deepcopy(world.cluster.objects[kind, name])
    edit(world, kind, name, **parts)
    world.settle()
    assert world.status["phase"] == "Pending"
    assert f"{kind} {name} cannot be read: {field}: " in world.status["message"]
    admitted = conditions(world)["Admitted"]
    assert (admitted["status"], admitted["reason"]) == ("False", "ReferenceInvalid")
    assert conditions(world)["Stalled"]["status"] == "False"
    writes = world.cluster.writes
    world.settle()
    assert world.cluster.writes == writes, "no loop"

    edit(world, kind, name, spec=good["spec"])
    world.cluster.objects[kind, name]["status"] = {"observedGeneration": -1}
    edit(world, kind, name)
    world.woken.append(TARGET)
    world.settle()
    assert world.cluster.created_jobs


def test_a_reference_that_stays_unreadable_ends_the_run_as_a_wrong_configuration() -> None:
    world = World()
    edit(world, "DbtProject", "shop", spec={"source": "none"})
    world.settle()
    world.now += timedelta(minutes=11)
    world.settle()
    assert (world.status["phase"], world.status["reason"]) == ("Failed", "ConfigError")
    assert "correct it" in world.status["message"]


def test_a_run_ends_although_its_project_cannot_be_read_any_more() -> None:
    world = begun(running_status())
    edit(world, "DbtProject", "shop", status={"states": "none"})
    world.pod(ended_status())
    world.settle()
    assert world.status["phase"] == "Succeeded"


def test_who_waits_for_a_target_that_cannot_be_read_says_so_and_the_target_says_why() -> None:
    world = World(run(retry={"maxAttempts": 2, "backoff": {"initial": "1s"}}), project(), target())
    world.settle()
    world.pod(ended_status(1, ""))
    world.cluster.objects["DbtRun", "nightly"]["status"] |= {"phase": "Queued"}
    attempts = world.cluster.objects["DbtRun", "nightly"]["status"]["attempts"]
    attempts[0] |= {"finishedAt": "2026-01-02T03:04:05Z", "reason": "Infrastructure"}
    edit(world, "DbtRun", "nightly")
    edit(world, "DbtTarget", "prod", status={"holders": []}, spec={"maxConcurrentRuns": "many"})
    world.now += timedelta(minutes=2)
    world.woken.append(TARGET)
    world.settle()
    assert world.status["phase"] == "Queued"
    assert "cannot be read: spec.maxConcurrentRuns: " in world.status["message"]
    assert conditions(world, "DbtTarget", "prod")["Stalled"]["reason"] == "InvalidSpec"


# An error of ours


def test_an_error_of_a_planner_is_not_written_into_the_object(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = begun()
    before = copy.deepcopy(world.status)

    def broken(*_: Any) -> Any:
        return Attempt.model_validate({"number": "one"})

    monkeypatch.setattr(run_planner, "_go_on", broken)
    with pytest.raises(ValidationError):
        world.reconciler.reconcile(RUN)
    assert world.status == before


# Fields of a later version


def test_what_a_later_version_has_written_stays() -> None:
    """After a step back, statuses hold fields that this operator does not know."""
    world = begun()
    status = world.cluster.objects["DbtRun", "nightly"]["status"]
    attempts = copy.deepcopy(status["attempts"])
    attempts[0]["node"] = "worker-7"
    moment = "2026-01-02T03:04:05Z"
    queue = {"position": 1, "behind": [], "since": moment, "at": moment, "fair": {"share": 3}}
    resolved = status["resolved"] | {"sandbox": {"kind": "gvisor"}}
    edit(
        world,
        "DbtRun",
        "nightly",
        status={"attempts": attempts, "score": [1], "resolved": resolved, "queue": queue},
    )
    world.pod(ended_status())
    world.settle()
    assert world.status["phase"] == "Succeeded"
    assert world.status["score"] == [1]
    assert world.status["resolved"]["sandbox"] == {"kind": "gvisor"}
    assert "finishedAt" in world.status["attempts"][0], "what is known of it has changed"
    assert world.status.get("queue") is None, "whoever removes a field removes all of it"


def test_items_of_a_list_keep_what_is_unknown_as_long_as_the_rest_of_them_stays() -> None:
    old = {"a": [{"n": 1, "x": True}, {"n": 2, "x": True}], "b": {"c": 1, "y": 2}, "z": 0}
    known = {"a": [{"n": 1}, {"n": 2}], "b": {"c": 1}}
    new = {"a": [{"n": 3}, {"n": 2}], "b": {"c": 2}}
    assert keep_unknown(old, known, new) == {
        "a": [{"n": 3}, {"n": 2, "x": True}],
        "b": {"c": 2, "y": 2},
        "z": 0,
    }
