"""A project from Git: which ref a run gets, and that all of its attempts work on one commit."""

from __future__ import annotations

from typing import Any

import pytest

from dbt_operator.api.kinds.project import DbtProject
from dbt_operator.api.kinds.target import DbtTarget
from dbt_operator.api.status import Phase, Reason
from dbt_operator.planning.attempt.pod_facts import ContainerFacts, PodFacts
from dbt_operator.planning.run.facts import RunFacts
from dbt_operator.planning.run.planner import plan
from dbt_protocol.plans import PreparePlan, RunPlan
from dbt_protocol.summaries import Summary
from tests.support.builders import NOW, ended, ended_status, later, project, run, stamp, target
from tests.support.retries import THREE, UNAVAILABLE, failing, wait
from tests.support.run_facts import conditions, job, planned_after, replace, seen, status
from tests.support.run_world import World

GIT = {"git": {"url": "https://git.example.com/shop.git", "ref": "main"}}
FIRST, SECOND = "1" * 40, "2" * 40


def of(source: dict[str, Any], /, **spec: Any) -> RunFacts:
    """A run, and its project with this source."""
    return seen(
        run(**spec),
        project=(DbtProject.model_validate(project(source=source)), 1),
        target=(DbtTarget.model_validate(target()), 1),
    )


def admitted(source: dict[str, Any], /, **spec: Any) -> RunFacts:
    first = of(source, **spec)
    return planned_after(first, plan(first, NOW))


def plans(world: World, attempt: int) -> tuple[PreparePlan, RunPlan]:
    """What init container and dbt container of an attempt are told."""
    pod = world.cluster.objects["Job", f"nightly-11111111-{attempt}"]["spec"]["template"]["spec"]
    containers = [pod[kind][0] for kind in ("initContainers", "containers")]
    texts = [
        next(e["value"] for e in each["env"] if e["name"] == "DBT_OPERATOR_PLAN")
        for each in containers
    ]
    return PreparePlan.from_json(texts[0]), RunPlan.from_json(texts[1])


def prepared(pod_status: dict[str, Any], commit: str) -> dict[str, Any]:
    """A pod's status in which the init container has found this commit."""
    message = Summary(commit=commit).to_json()
    state = {"exitCode": 0, "message": message, "startedAt": stamp(1), "finishedAt": stamp(4)}
    found = {"name": "prepare", "image": "runner", "imageID": "x", "state": {"terminated": state}}
    others = [c for c in pod_status.get("initContainerStatuses", []) if c["name"] != "prepare"]
    return pod_status | {"initContainerStatuses": [found, *others]}


def test_a_run_gets_the_projects_ref_or_its_own() -> None:
    for spec, expected in (({}, "main"), ({"source": {"ref": "feature/x"}}, "feature/x")):
        resolved = admitted(GIT, **spec).status.resolved
        assert resolved is not None
        assert resolved.source.git is not None
        assert (resolved.source.git.ref, resolved.source.git.url) == (expected, GIT["git"]["url"])


@pytest.mark.parametrize(
    "source", [{"image": {"path": "/project"}}, {"configMap": {"name": "files"}}]
)
def test_a_ref_is_refused_where_there_is_no_repository(source: dict[str, Any]) -> None:
    found = status(plan(of(source, source={"ref": "feature/x"}), NOW))
    assert (found.phase, found.reason) == (Phase.FAILED, Reason.INVALID_SPEC)
    assert "DbtProject shop does not come from Git" in (found.message or "")
    assert conditions(found)["Finished"] == "True"
    assert not found.attempts


@pytest.mark.parametrize(
    ("deps", "expected"), [(None, "IfMissing"), ("Always", "Always"), ("Never", "Never")]
)
def test_packages_are_installed_if_missing_unless_the_project_says_otherwise(
    deps: str | None, expected: str
) -> None:
    world = World(run(), project(source=GIT, **({"deps": deps} if deps else {})), target())
    world.settle()
    assert plans(world, 1)[1].deps == expected


def test_the_commit_is_recorded_as_soon_as_it_is_known() -> None:
    """While dbt's image is still being pulled, for example."""
    prepare = ended(0, Summary(commit=FIRST).to_json())
    pod = PodFacts(prepare=prepare, dbt=ContainerFacts(waiting_reason="PodInitializing"))
    found = status(plan(replace(admitted(GIT), job=job(), pod=pod), later(5)))
    assert (found.phase, found.commit) == (Phase.PENDING, FIRST)


@pytest.mark.parametrize("message", ["", "no JSON", Summary().to_json()])
def test_without_a_commit_none_is_recorded(message: str) -> None:
    pod = PodFacts(prepare=ended(0, message))
    assert status(plan(replace(admitted(GIT), job=job(), pod=pod), later(5))).commit is None


def retrying() -> World:
    return World(run(retry=THREE), project(source=GIT), target())


def attempt_fails(world: World, commit: str) -> None:
    world.settle()
    world.now = max(world.now, later(65))
    world.pod(prepared(ended_status(1, UNAVAILABLE), commit))
    world.settle()
    wait(world)


def test_a_branch_that_moves_between_two_attempts_changes_nothing() -> None:
    world = retrying()
    attempt_fails(world, FIRST)
    assert world.status["commit"] == FIRST
    attempt_fails(world, SECOND)  # as no runner would
    assert world.status["commit"] == FIRST
    assert [plans(world, attempt)[0].commit for attempt in (1, 2, 3)] == ["", FIRST, FIRST]
    assert {plans(world, attempt)[0].ref for attempt in (1, 2, 3)} == {"main"}


def test_an_attempt_after_one_that_found_no_commit_looks_for_it_anew() -> None:
    world = retrying()
    failing(world)
    wait(world)
    assert "commit" not in world.status
    assert plans(world, 2)[0].commit == ""
    attempt_fails(world, SECOND)
    assert plans(world, 3)[0].commit == SECOND


def test_a_repository_that_is_away_is_tried_again_and_told() -> None:
    world = retrying()
    world.settle()
    message = Summary(
        reason="SourceError", message="https://git.example.com: away", exit_code=2
    ).to_json()
    state = {"exitCode": 2, "message": message, "startedAt": stamp(1), "finishedAt": stamp(4)}
    container = {
        "name": "prepare",
        "image": "runner",
        "imageID": "x",
        "state": {"terminated": state},
    }
    world.pod({"phase": "Failed", "initContainerStatuses": [container]})
    world.settle()
    assert (world.status["phase"], world.status["reason"]) == ("BackingOff", "SourceError")
    assert "https://git.example.com: away" in world.status["message"]


PINNED = f"registry.example.com/dbt@sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("protected", "deps", "expected"),
    [
        (True, "IfMissing", ("main", True, 2)),
        (True, "Never", ("main", False, 2)),
        (False, "IfMissing", ("", False, 1)),
    ],
)
def test_the_pods_of_a_protected_target_prove_what_they_run(
    protected: bool, deps: str, expected: tuple[str, bool, int]
) -> None:
    """All of them do; and a runner that knows nothing of that refuses the plan."""
    world = World(
        run(source={"ref": FIRST}, retry=THREE),
        project(image=PINNED, source=GIT, deps=deps),
        target(protected=protected),
    )
    attempt_fails(world, FIRST)
    for attempt in (1, 2):
        source, work = plans(world, attempt)
        assert (source.ref, source.commit) == (FIRST, "" if attempt == 1 else FIRST)
        assert (source.reachable_from, work.deps_locked, work.protocol) == expected
        assert source.protocol == work.protocol


def test_of_a_baked_project_without_packages_nothing_is_to_be_proved() -> None:
    world = World(run(), project(image=PINNED, deps="Never"), target(protected=True))
    world.settle()
    pod = world.cluster.objects["Job", "nightly-11111111-1"]["spec"]["template"]["spec"]
    (sidecar,), (dbt,) = pod["initContainers"], pod["containers"]
    assert sidecar["name"] == "artifacts"
    told = next(e["value"] for e in dbt["env"] if e["name"] == "DBT_OPERATOR_PLAN")
    assert RunPlan.from_json(told).deps_locked is False
