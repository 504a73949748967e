"""Which state a run is compared with, and which runs leave one that others are compared with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dbt_operator.api.kinds.project import DbtProject, StateEntry
from dbt_operator.api.kinds.run import DbtRun, DbtRunSpec
from dbt_operator.api.parts.steps import Step
from dbt_operator.api.status import Phase, Reason
from dbt_operator.planning.state import compare, promote
from dbt_protocol.plans import PreparePlan, RunPlan, UploadPlan
from tests.support.builders import (
    UID,
    ended_status,
    project,
    run,
    running_status,
    stamp,
    summary,
    target,
    upload,
)
from tests.support.fake_cluster import KilledError
from tests.support.run_world import World, happy_path

SLIM = {"build": {"select": ["state:modified+"]}}
DEFER = {"state": {"defer": True}}


def spec(**fields: Any) -> DbtRunSpec:
    return DbtRun.model_validate(run(**fields)).spec


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, False),
        ({"steps": [SLIM]}, True),
        (
            {"steps": [{"build": {"select": ["tag:core 2+state:modified.body+1,path:models"]}}]},
            True,
        ),
        ({"steps": [{"build": {"exclude": ["@result:error"]}}]}, True),
        ({"steps": [{"build": {"select": ["source_status:fresher+"]}}]}, True),
        ({"steps": [{"build": {"select": ["path:models/state:odd", "tag:state"]}}]}, False),
        (DEFER, True),
        ({"state": {"from": "LastSuccess"}}, True),
        ({"state": {"from": {"target": "prod"}}}, True),
        ({"state": {"promote": "Never"}}, False),
        ({"steps": [{"docs": {}}]}, False),
    ],
)
def test_a_run_needs_a_state_only_if_it_compares(fields: dict[str, Any], expected: bool) -> None:
    assert compare.compares(spec(**fields)) is expected


@pytest.mark.parametrize(
    ("select", "exclude", "wider_select", "wider_exclude"),
    [
        (["state:modified+"], None, None, None),
        (["state:modified+,path:models/marts"], None, ["path:models/marts"], None),
        (["tag:core", "state:modified+"], None, None, None),
        (["tag:core result:error+,tag:x"], None, ["tag:core", "tag:x"], None),
        (["tag:core"], ["state:old", "tag:slow"], ["tag:core"], ["tag:slow"]),
        (None, ["state:unmodified"], None, None),
    ],
)
def test_without_a_state_everything_that_might_have_changed_is_selected(
    select: list[str] | None,
    exclude: list[str] | None,
    wider_select: list[str] | None,
    wider_exclude: list[str] | None,
) -> None:
    step = Step.model_validate({"build": {"select": select, "exclude": exclude, "failFast": True}})
    found = compare.without(step).build
    assert found is not None
    assert (found.select, found.exclude, found.fail_fast) == (wider_select, wider_exclude, True)


@pytest.mark.parametrize(
    ("fields", "compared", "expected"),
    [
        ({}, False, "Full"),
        ({"steps": [{"build": {"fullRefresh": True}}, {"docs": {}}]}, False, "Full"),
        ({"vars": {"ds": "2024-01-01"}}, False, None),
        ({"vars": {"ds": "2024-01-01"}, "state": {"promote": "Always"}}, False, "Always"),
        ({"steps": [{"build": {"select": ["tag:finance"]}}]}, False, None),
        ({"steps": [{"build": {"exclude": ["tag:slow"]}}]}, False, None),
        ({"steps": [{"build": {"selector": "nightly"}}]}, False, "Full"),
        ({"steps": [{"build": {"selector": "nightly"}}]}, True, "Slim"),
        ({"steps": [{"build": {"selector": "a", "resourceTypes": ["model"]}}]}, True, None),
        (
            {
                "steps": [{"build": {"selector": "nightly"}}],
                "state": {"from": {"target": "prod"}},
            },
            True,
            None,
        ),
        ({"steps": [{"build": {"resourceTypes": ["model"]}}]}, False, None),
        ({"steps": [{"build": {"excludeResourceTypes": ["test"]}}]}, False, None),
        ({"steps": [{"build": {"empty": True}}]}, False, None),
        ({"steps": [{"build": {}, "allowFailure": True}]}, False, None),
        ({"steps": [{"run": {}}, {"test": {}}]}, False, None),
        ({"eventTime": {"start": "2024-01-01", "end": "2024-01-02"}}, False, None),
        ({"env": [{"name": "SCHEMA", "value": "pr_7"}]}, False, None),
        ({"steps": [SLIM]}, True, "Slim"),
        ({"steps": [SLIM], "state": {"defer": True}}, True, "Slim"),
        ({"steps": [SLIM]}, False, None),
        ({"steps": [{"build": {"select": ["state:modified+", "tag:finance"]}}]}, True, None),
        ({"steps": [{"build": {"select": ["state:modified+,tag:finance"]}}]}, True, None),
        ({"steps": [{"build": {"select": ["state:modified"]}}]}, True, None),
        (
            {"steps": [{"build": {"select": ["state:modified+"], "exclude": ["tag:slow"]}}]},
            True,
            None,
        ),
        ({"steps": [SLIM], "state": {"from": {"target": "prod"}}}, True, None),
        ({"steps": [SLIM], "state": {"from": {"run": "last"}}}, True, None),
        ({"state": {"promote": "Never"}}, False, None),
        ({"steps": [{"test": {}}], "state": {"promote": "Always"}}, False, "Always"),
    ],
)
def test_which_runs_may_leave_the_current_state(
    fields: dict[str, Any], compared: bool, expected: str | None
) -> None:
    found = spec(**fields)
    assert promote.promotion(found, found.steps, compared=compared) == expected


def entry(key: str, at: str = "2026-01-01T00:00:00Z", target: str = "prod") -> StateEntry:
    return StateEntry(target=target, run=key, key=key, at=at)


@pytest.mark.parametrize(
    ("now", "new", "base", "moves"),
    [
        ([], entry("b"), None, True),
        ([entry("a")], entry("b", "2026-01-02T00:00:00Z"), None, True),
        ([entry("a", "2026-01-03T00:00:00Z")], entry("b", "2026-01-02T00:00:00Z"), None, False),
        ([entry("a")], entry("a", "2026-01-02T00:00:00Z"), None, False),
        ([entry("a")], entry("b", "2026-01-02T00:00:00Z"), "a", True),
        ([entry("c")], entry("b", "2026-01-02T00:00:00Z"), "a", False),
        ([], entry("b"), "a", False),
        ([entry("a", "2026-01-03T00:00:00Z", "other")], entry("b"), None, True),
    ],
)
def test_a_state_is_never_replaced_by_one_that_knows_less(
    now: list[StateEntry], new: StateEntry, base: str | None, moves: bool
) -> None:
    moved = promote.advanced(now, new, base)
    assert (moved is not None) is moves
    if moved is not None:
        assert new in moved
        assert [each for each in moved if each.target != "prod"] == [
            each for each in now if each.target != "prod"
        ]


def with_state(*entries: StateEntry) -> dict[str, Any]:
    manifest = project()
    manifest["status"] = {"observedGeneration": 1, "states": [each.to_dict() for each in entries]}
    return manifest


def test_where_the_state_comes_from() -> None:
    found = DbtProject.model_validate(with_state(entry("p"), entry("s", target="staging")))
    earlier = run()
    earlier["status"] = {"finishedAt": "2026-01-01T00:00:00Z"}

    def wanted(**fields: Any) -> str | None:
        return compare.wanted(
            DbtRun.model_validate(run(**fields)), found, DbtRun.model_validate(earlier)
        )

    assert wanted() == "p"
    assert wanted(state={"from": "LastSuccess"}) == "p"
    assert wanted(state={"from": {"target": "staging"}}) == "s"
    assert wanted(state={"from": {"target": "absent"}}) is None
    assert wanted(state={"from": {"run": "nightly"}}) is None, "it has left none"


def plans(world: World) -> tuple[PreparePlan, RunPlan, UploadPlan]:
    spec = world.cluster.objects["Job", world.cluster.created_jobs[-1]]["spec"]["template"]["spec"]
    told = {
        container["name"]: next(
            each["value"] for each in container["env"] if each["name"] == "DBT_OPERATOR_PLAN"
        )
        for container in (*spec["initContainers"], *spec["containers"])
    }
    nothing = PreparePlan("image").to_json()  # as no init container restores anything
    return (
        PreparePlan.from_json(told.get("prepare", nothing)),
        RunPlan.from_json(told["dbt"]),
        UploadPlan.from_json(told["artifacts"]),
    )


def test_a_slim_run_gets_the_state_and_leaves_one() -> None:
    world = World(run(steps=[SLIM], **DEFER), with_state(entry("states/a")), target())
    world.settle()
    prepare, dbt, artifacts = plans(world)
    assert (prepare.state, prepare.state_required) == ("states/a", False)
    assert dbt.steps[0].argv[-3:] == ["--state", "/dbt-operator/state", "--defer"]
    assert dbt.steps[0].full == ["build"]
    assert artifacts.state == f"dbt/analytics/shop/prod/state/{UID}"
    assert artifacts.cache.startswith("dbt/analytics/shop/prod/cache/")


def test_the_first_slim_run_builds_everything_and_its_state_becomes_the_current_one() -> None:
    world = World(run(steps=[SLIM], **DEFER), project(), target())
    world.settle()
    prepare, dbt, _ = plans(world)
    assert (prepare.state, dbt.steps[0].argv) == ("", ["build"])
    world.pod(running_status())
    world.settle()
    world.pod(ended_status())
    world.settle()
    (found,) = world.cluster.objects["DbtProject", "shop"]["status"]["states"]
    assert (found["target"], found["run"], found["dbtVersion"]) == ("prod", "nightly", "1.11.16")


BY_SELECTOR = {"build": {"selector": "slim"}}


def test_the_first_run_by_a_selector_may_lack_a_state() -> None:
    """What the selector compares, if anything, only the runner can see."""
    world = World(run(steps=[BY_SELECTOR], **DEFER), project(), target())
    world.settle()
    prepare, dbt, _ = plans(world)
    step = dbt.steps[0]
    assert (prepare.state, step.argv, step.full) == ("", ["build", "--selector", "slim"], step.argv)
    world.pod(running_status())
    world.settle()
    world.pod(ended_status())
    world.settle()
    (found,) = world.cluster.objects["DbtProject", "shop"]["status"]["states"]
    assert (found["target"], found["run"]) == ("prod", "nightly")


def test_a_run_by_a_selector_that_says_nothing_of_a_state_may_not_lack_one() -> None:
    world = World(run(steps=[BY_SELECTOR]), with_state(entry("states/a")), target())
    world.settle()
    prepare, dbt, _ = plans(world)
    assert (prepare.state, dbt.steps[0].full) == ("", None)


def test_or_it_fails_if_that_is_wanted() -> None:
    world = World(run(steps=[SLIM], state={"onMissing": "Fail"}), project(), target())
    world.settle()
    assert (world.status["phase"], world.status["reason"]) == (Phase.FAILED, Reason.MISSING_STATE)
    assert world.cluster.created_jobs == []


OF_AN_OLDER_RUNNER = json.dumps(
    {name: value for name, value in json.loads(summary()).items() if name != "whole"}
)


@pytest.mark.parametrize(
    "status",
    [
        ended_status(1, summary("TestFailed")),
        {
            **ended_status(),
            "initContainerStatuses": [
                {"name": "artifacts", "state": {"terminated": {"exitCode": 1}}}
            ],
        },
        ended_status(0, summary(whole=False)),
        ended_status(0, OF_AN_OLDER_RUNNER),
        ended_status(0, summary(leaves_state=False)),
    ],
    ids=[
        "a failed run",
        "a run whose state did not arrive",
        "a build that the project has narrowed",
        "a runner that says nothing of it",
        "a run whose names hold a secret",
    ],
)
def test_the_pointer_stays(status: dict[str, Any]) -> None:
    world = World()
    world.settle()
    world.pod(status)
    world.settle()
    assert Phase(world.status["phase"]).finished
    assert "states" not in world.cluster.objects["DbtProject", "shop"]["status"]


def with_upload(text: str) -> dict[str, Any]:
    """The status of a pod whose dbt container has succeeded, with what the sidecar says."""
    status = ended_status()
    status["initContainerStatuses"][1]["state"]["terminated"]["message"] = text
    return status


@pytest.mark.parametrize(
    ("said", "moves"),
    [
        (upload("3 of 9 objects were not uploaded: it broke", state="Uploaded"), True),
        (upload("3 of 9 objects were not uploaded: it broke", state="Missing"), False),
        (upload(state="Missing"), False),
        (upload(state="of a later version"), False),
        (upload(), True),
        (upload("1 of 9 objects were not uploaded: it broke"), False),
    ],
    ids=[
        "logs are missing",
        "the state is missing",
        "no state was left",
        "a later runner",
        "an older runner",
        "an older runner whose upload failed",
    ],
)
def test_whether_the_pointer_moves_depends_on_the_objects_of_the_state(
    said: str, moves: bool
) -> None:
    world = World()
    world.settle()
    world.pod(with_upload(said))
    world.settle()
    assert world.status["phase"] == Phase.SUCCEEDED
    assert ("states" in world.cluster.objects["DbtProject", "shop"]["status"]) is moves


def test_who_says_always_means_it() -> None:
    world = World(run(state={"promote": "Always"}), project(), target())
    world.settle()
    world.pod(ended_status(0, summary(whole=False)))
    world.settle()
    assert len(world.cluster.objects["DbtProject", "shop"]["status"]["states"]) == 1


def test_what_has_left_no_state_never_becomes_the_current_one() -> None:
    world = World(run(state={"promote": "Always"}), project(), target())
    world.settle()
    world.pod(ended_status(0, summary(leaves_state=False)))
    world.settle()
    assert "states" not in world.cluster.objects["DbtProject", "shop"]["status"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(1, 9))
def test_killed_at_any_write_the_pointer_moves_before_the_end_is_told(
    number: int, after: bool
) -> None:
    world = World()

    def kill(write: int) -> None:
        status = world.cluster.objects["DbtProject", "shop"]["status"]
        assert world.status.get("phase") != "Succeeded" or "states" in status
        if write == number:
            raise KilledError

    setattr(world.cluster, "after_write" if after else "before_write", kill)
    happy_path(world)
    assert world.status["phase"] == "Succeeded"
    assert len(world.cluster.objects["DbtProject", "shop"]["status"]["states"]) == 1


def test_a_project_that_is_gone_by_then_stops_nothing() -> None:
    world = World()
    world.settle()
    world.pod(running_status())
    world.settle()
    del world.cluster.objects["DbtProject", "shop"]
    world.pod(ended_status())
    world.settle()
    assert world.status["phase"] == "Succeeded"


def test_a_run_that_began_earlier_does_not_push_out_a_later_one() -> None:
    world = World(run(), with_state(entry("later", "2027-01-01T00:00:00Z")), target())
    happy_path(world)
    assert world.status["phase"] == "Succeeded"
    (found,) = world.cluster.objects["DbtProject", "shop"]["status"]["states"]
    assert found["key"] == "later"


def test_caches_of_runs_with_variables_of_their_own_are_kept_apart() -> None:
    assert compare.cache_key(["SCHEMA", "REGION"]) == compare.cache_key(["REGION", "SCHEMA"])
    assert compare.cache_key(["SCHEMA"]) != compare.cache_key([])


ELSEWHERE = {"env": [{"name": "SCHEMA", "value": "pr_7"}]}
EMPTY = {"build": {"empty": True}}
EARLIER, LATER = stamp(), stamp(30)  # than dbt's start in these runs, and while it is at work


def end_of(spec: dict[str, Any], current: StateEntry, status: dict[str, Any]) -> StateEntry | None:
    """The current state of the target after a run that has ended with this status of its pod."""
    world = World(run(**spec), with_state(current), target())
    world.settle()
    world.pod(running_status())
    world.settle()
    world.pod(status)
    world.settle()
    found = DbtProject.model_validate(world.cluster.objects["DbtProject", "shop"])
    assert found.status is not None
    return compare.current_state(found.status.states or (), "prod")


@pytest.mark.parametrize(
    ("spec", "at", "ends", "withdrawn"),
    [
        ({"steps": [EMPTY]}, EARLIER, ended_status(), True),
        ({"steps": [EMPTY]}, EARLIER, ended_status(1, summary("ModelError")), True),
        ({"steps": [{"run": {"sample": "3 days"}}]}, EARLIER, ended_status(), True),
        (
            {"steps": [EMPTY], "env": [{"name": "SCHEMA", "value": "x"}]},
            EARLIER,
            ended_status(),
            False,
        ),
        ({"steps": [{"compile": {}}]}, LATER, ended_status(), False),
        ({"steps": [{"build": {"select": ["a"]}}]}, EARLIER, ended_status(), False),
        ({"steps": [{"build": {"select": ["a"]}}]}, LATER, ended_status(), True),
        ({}, LATER, ended_status(), True),
        ({}, stamp(100), ended_status(), False),
        (
            {"retry": {"maxAttempts": 2, "reasons": ["Unavailable"]}},
            LATER,
            ended_status(1, summary("Unavailable")),
            True,
        ),
    ],
)
def test_a_state_that_was_built_over_is_withdrawn(
    spec: dict[str, Any], at: str, ends: dict[str, Any], withdrawn: bool
) -> None:
    current = end_of(spec, entry("states/a", at), ends)
    assert current is not None
    if not withdrawn:
        assert current.key == "states/a"
        return
    assert current.key.startswith("dbt/analytics/shop/prod/runs/nightly-")
    assert current.key.endswith("/overwritten")
    assert (current.run, current.at) == ("nightly", stamp(65))
