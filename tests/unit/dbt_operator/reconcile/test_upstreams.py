"""A run that waits for its upstreams, in a cluster of the test's own: what wakes it, and operators
that are killed at each write.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from dbt_operator.api.status import Phase
from dbt_operator.cluster.errors import InvalidError
from dbt_operator.common.awaited_kinds import AwaitedKind
from dbt_operator.reconcile.kinds import find_concerned
from dbt_operator.reconcile.waking import Change, find_waiting_for_job
from tests.support.builders import (
    NOW,
    ended_status,
    later,
    manifest,
    project,
    run,
    running_status,
    stamp,
    target,
)
from tests.support.run_world import RUN, World
from tests.support.schedule_world import TEMPLATE, ScheduleWorld, schedule
from tests.support.upstreams import complete_job, failed_job, foreign_job

JOB = {"job": {"name": "load"}}
LABELLED = {"job": {"selector": {"matchLabels": {"app": "load"}}}}
SCHEDULE = {"schedule": {"name": "raw"}}
FIRST = {"run": {"name": "first"}}


def make_world(*upstreams: dict[str, Any], **spec: Any) -> World:
    return World(run(waitFor=list(upstreams), **spec), project(), target())


def put(world: World, *manifests: dict[str, Any]) -> None:
    """Somebody applies something, and the watches of our kinds tell it."""
    for each in manifests:
        key = (each["kind"], each["metadata"]["name"])
        before = world.cluster.objects.get(key)
        version = int(before["metadata"]["resourceVersion"]) + 1 if before else 1
        each["metadata"]["resourceVersion"] = str(version)
        world.cluster.objects[key] = each
        if each["kind"] != "Job":
            world.store.put(each["kind"], each)
            world.woken += find_concerned(Change(each, world.store))


def go_on(world: World, seconds: float = 10) -> None:
    world.now += timedelta(seconds=seconds)
    world.settle()


def succeeded_run(name: str = "first", at: float = 5) -> dict[str, Any]:
    made = manifest("DbtRun", name, TEMPLATE)
    made["status"] = {"phase": "Succeeded", "finishedAt": stamp(at)}
    return made


def succeeded_schedule(at: float = 5, occurrence: float = 0) -> dict[str, Any]:
    made = schedule("raw", uid="uid-of-raw")
    past = {"occurrence": stamp(occurrence), "run": "raw-1", "phase": "Succeeded"}
    history = [past | {"finishedAt": stamp(at)}]
    made["status"] = {"lastSuccessTime": stamp(at), "history": history}
    return made


ARRIVALS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "job": (JOB, complete_job("load", 5)),
    "labels": (LABELLED, complete_job("load-xyz", 5, labels={"app": "load", "more": "x"})),
    "schedule": (SCHEDULE, succeeded_schedule()),
    "run": (FIRST, succeeded_run()),
}
every_kind = pytest.mark.parametrize(("upstream", "arrival"), ARRIVALS.values(), ids=ARRIVALS)


def copied(arrival: dict[str, Any]) -> dict[str, Any]:
    return {**arrival, "metadata": {**arrival["metadata"]}}


@every_kind
def test_it_begins_when_its_upstream_has_succeeded(
    upstream: dict[str, Any], arrival: dict[str, Any]
) -> None:
    world = make_world(upstream)
    world.settle()
    assert world.status["phase"] == "Waiting"
    assert "holders" not in world.cluster.objects["DbtTarget", "prod"]["status"]
    assert world.cluster.created_jobs == []
    put(world, copied(arrival))
    go_on(world)
    assert world.status["wait"]["endedAt"] == stamp(10)
    assert world.status["wait"]["upstreams"][0]["completedAt"] == stamp(5)
    assert len(world.cluster.created_jobs) == 1


@every_kind
def test_what_was_there_before_counts(upstream: dict[str, Any], arrival: dict[str, Any]) -> None:
    world = make_world(upstream)
    put(world, copied(arrival))
    world.settle()
    assert len(world.cluster.created_jobs) == 1


@pytest.mark.parametrize(
    ("upstream", "arrival", "said"),
    [
        (JOB, foreign_job("load"), "Job load has not completed"),
        (JOB, failed_job("load"), "Job load has failed: BackoffLimitExceeded"),
        (JOB, complete_job("another", 5), "it does not exist yet"),
        (LABELLED, complete_job("load", 5, labels={"app": "another"}), "there is none yet"),
        (SCHEDULE, schedule("raw"), "none of its runs has succeeded yet"),
        (FIRST, manifest("DbtRun", "first", TEMPLATE), "it has not ended"),
    ],
)
def test_what_has_not_succeeded_ends_no_wait(
    upstream: dict[str, Any], arrival: dict[str, Any], said: str
) -> None:
    world = make_world(upstream)
    world.settle()
    put(world, arrival)
    go_on(world)
    assert world.status["phase"] == "Waiting"
    assert world.status["wait"]["upstreams"][0]["message"] == said


def test_a_job_that_failed_may_come_anew() -> None:
    world = make_world(JOB)
    put(world, failed_job("load"))
    world.settle()
    put(world, complete_job("load", 15))
    go_on(world, 20)
    assert len(world.cluster.created_jobs) == 1


def test_a_run_that_has_ended_otherwise_is_asked_for_live() -> None:
    """Little is kept of it, and its reason is not."""
    world = make_world(FIRST)
    failed = succeeded_run()
    failed["status"] |= {"phase": "Failed", "reason": "ModelError"}
    put(world, failed)
    world.settle()
    assert world.status["wait"]["upstreams"][0]["message"] == "it has ended as Failed, ModelError"


def test_what_cannot_be_read_is_told() -> None:
    world = make_world(FIRST)
    wrong = manifest("DbtRun", "first", TEMPLATE)
    wrong["status"] = {"phase": "Hopeful"}
    put(world, wrong)
    world.settle()
    assert "cannot be read: status.phase" in world.status["wait"]["upstreams"][0]["message"]


def test_a_refusal_of_the_api_server_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(JOB)

    def refuse(*_: Any) -> Any:
        raise InvalidError("403 Forbidden: jobs")

    monkeypatch.setattr(world.cluster, "get_job", refuse)
    world.settle()
    assert "403 Forbidden" in world.status["wait"]["upstreams"][0]["message"]


@pytest.mark.parametrize(
    ("outcome", "phase", "reason"),
    [("Fail", "Failed", "UpstreamMissing"), ("Skip", "Skipped", "NotArrived")],
)
def test_one_that_does_not_come_in_time_ends_the_run(outcome: str, phase: str, reason: str) -> None:
    world = make_world(JOB | {"timeout": "5m", "onTimeout": outcome})
    world.settle()
    go_on(world, 299)
    assert world.status["phase"] == "Waiting"
    go_on(world, 1)
    assert (world.status["phase"], world.status["reason"]) == (phase, reason)
    assert world.cluster.created_jobs == []
    assert "Job load" in world.status["message"]
    assert [event.reason for event in world.cluster.events][-1] == (
        reason if phase == "Failed" else phase
    )


def test_one_that_is_deleted_after_it_was_seen_counts() -> None:
    world = make_world(JOB, FIRST)
    world.settle()
    put(world, complete_job("load", 5))
    go_on(world)
    del world.cluster.objects["Job", "load"]
    world.restart()
    put(world, succeeded_run(at=15))
    go_on(world)
    assert len(world.cluster.created_jobs) == 1


def test_it_can_be_cancelled_while_it_waits() -> None:
    world = make_world(JOB)
    world.settle()
    found = world.cluster.objects["DbtRun", RUN.name]
    found["spec"]["cancel"] = True
    found["metadata"]["resourceVersion"] = world.cluster._next_version()
    world.restart()
    world.settle()
    assert world.status["cancelRequestedAt"] == stamp()
    world.settle()
    assert (world.status["phase"], world.status["reason"]) == ("Cancelled", "Cancelled")


# What wakes it


def test_the_success_of_another_run_or_schedule_wakes_it_and_no_other_change_of_a_run() -> None:
    world = make_world(SCHEDULE, FIRST)
    busy = manifest("DbtRun", "first", TEMPLATE) | {"status": {"phase": "Running"}}
    assert RUN not in list(find_concerned(Change(busy, world.store)))
    assert RUN in list(find_concerned(Change(succeeded_run(), world.store)))
    assert RUN in list(find_concerned(Change(succeeded_schedule(), world.store)))
    assert RUN not in list(find_concerned(Change(succeeded_run("another"), world.store)))


@pytest.mark.parametrize(
    ("upstream", "job", "wakes"),
    [
        (JOB, foreign_job("load"), True),
        (JOB, foreign_job("another"), False),
        (JOB, foreign_job("load", namespace="elsewhere"), False),
        (LABELLED, foreign_job("any", {"app": "load", "more": "x"}), True),
        (LABELLED, foreign_job("any", {"app": "another"}), False),
        (LABELLED, foreign_job("any"), False),
    ],
)
def test_a_job_wakes_who_waits_for_it(
    upstream: dict[str, Any], job: dict[str, Any], wakes: bool
) -> None:
    world = make_world(upstream)
    assert list(find_waiting_for_job(job["metadata"], world.store)) == [RUN] * wakes


@every_kind
def test_nothing_wakes_a_run_that_waits_no_more(
    upstream: dict[str, Any], arrival: dict[str, Any]
) -> None:
    world = make_world(upstream)
    put(world, copied(arrival))
    world.settle()
    assert world.store.namespaces_waiting_for("Job") == set()
    assert list(find_waiting_for_job(complete_job("load", 5)["metadata"], world.store)) == []
    if arrival["kind"] != "Job":
        assert RUN not in list(find_concerned(Change(arrival, world.store)))


# In a schedule


def make_schedule(upstream: dict[str, Any], **spec: Any) -> ScheduleWorld:
    return ScheduleWorld(NOW, run={"waitFor": [upstream]}, **spec)


def next_run(world: ScheduleWorld) -> dict[str, Any]:
    world.look()
    world.now = later(24 * 3600)  # due at three
    world.look()
    (made,) = world.runs.values()
    found: dict[str, Any] = made["spec"]["waitFor"][0]
    return found


def test_in_a_schedule_what_counts_has_begun_in_the_interval() -> None:
    assert next_run(make_schedule(JOB)) == JOB | {"begunAfter": "2026-01-02T03:00:00Z"}


@pytest.mark.parametrize(
    ("bound", "stands_for"),
    [
        ({"newerThan": "$(scheduled.time)"}, {"newerThan": "2026-01-03T03:00:00Z"}),
        ({"newerThan": "$(interval.end)"}, {"newerThan": "2026-01-03T03:00:00Z"}),
        ({"newerThan": "2h"}, {"newerThan": "2h"}),
        ({"begunAfter": "$(interval.start)"}, {"begunAfter": "2026-01-02T03:00:00Z"}),
    ],
)
def test_in_a_schedule_it_can_be_said_otherwise(
    bound: dict[str, str], stands_for: dict[str, str]
) -> None:
    assert next_run(make_schedule(JOB | bound)) == JOB | stands_for


@pytest.mark.parametrize("occurrence", ["2026-01-02T02:00:00Z", "2026-01-02T03:00:00Z"])
def test_a_success_of_yesterday_that_was_late_is_not_taken_for_todays(occurrence: str) -> None:
    bound = {"begunAfter": "2026-01-02T03:00:00Z"}  # as the schedule's run of the 3rd has it
    world = make_world(SCHEDULE | bound)
    late = succeeded_schedule()
    late["status"]["history"][0] |= {"occurrence": occurrence, "finishedAt": stamp(1800)}
    put(world, late)
    world.settle()
    assert world.status["phase"] == "Waiting"
    todays = succeeded_schedule()
    todays["status"]["history"][0] |= {"occurrence": "2026-01-03T02:00:00Z"}
    put(world, todays)
    go_on(world)
    assert len(world.cluster.created_jobs) == 1


# Kills


def tell_story(world: World) -> None:
    """Two upstreams come, one after the other; the first is deleted. Then the run does its work."""
    world.settle()
    put(world, complete_job("load", 5))
    go_on(world)
    world.cluster.objects.pop(("Job", "load"), None)
    go_on(world)
    put(world, succeeded_run(at=25))
    go_on(world)
    world.pod(running_status())
    go_on(world)
    world.pod(ended_status())
    go_on(world)


def tell_of_the_end(world: World) -> None:
    """One comes and the other does not."""
    world.settle()
    put(world, complete_job("load", 5))
    go_on(world)
    go_on(world, 600)


STORIES: dict[str, tuple[Callable[[World], None], str, int]] = {
    "come": (tell_story, "Succeeded", 1),
    "missing": (tell_of_the_end, "Failed", 0),
}


def make_story() -> World:
    return make_world(JOB | {"timeout": "5m"}, FIRST | {"timeout": "5m"})


def count_writes(story: str) -> int:
    world = make_story()
    STORIES[story][0](world)
    return world.cluster.writes


KILLS = [(story, number) for story in STORIES for number in range(1, count_writes(story) + 1)]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("story", "number"), KILLS)
def test_an_operator_that_is_killed_at_a_write_waits_for_the_same(
    story: str, number: int, *, after: bool
) -> None:
    tell, phase, jobs = STORIES[story]
    world = make_story()
    world.cluster.kill_at(number, after=after)
    tell(world)
    assert world.status["phase"] == phase
    assert len(world.cluster.created_jobs) == jobs
    wait = world.status["wait"]
    assert wait["since"] == stamp()
    assert wait["upstreams"][0]["completedAt"] == stamp(5)
    assert ("endedAt" in wait) == (phase == Phase.SUCCEEDED)


# Kinds of others


OBJECT = {"object": {"apiGroup": "argoproj.io", "kind": "Workflow", "name": "load"}}
WORKFLOW = {"group": "argoproj.io", "version": "v1", "plural": "workflows", "kind": "Workflow"}
BY_FIELD = AwaitedKind.parse(
    WORKFLOW
    | {"field": "status.phase", "values": ["Succeeded"], "completedAt": "status.finishedAt"}
)
BY_CONDITION = AwaitedKind.parse(WORKFLOW | {"condition": "Completed"})


def workflow(**status: Any) -> dict[str, Any]:
    return foreign_job("load") | {"kind": "Workflow", "status": status}


def completed(status: str, at: Any) -> dict[str, Any]:
    return {"type": "Completed", "status": status, "lastTransitionTime": at}


@pytest.mark.parametrize(
    ("kind", "made", "said"),
    [
        (None, None, "the operator's chart does not list Workflow of argoproj.io"),
        (BY_FIELD, None, "it does not exist yet"),
        (BY_FIELD, workflow(), "it has no status.phase yet"),
        (BY_FIELD, workflow(phase="Running"), "its status.phase is Running"),
        (BY_FIELD, workflow(phase={"is": "odd"}), "it has no status.phase yet"),
        (BY_FIELD, workflow(phase="Succeeded"), "it has succeeded, and does not tell when"),
        (BY_FIELD, workflow(phase="Succeeded", finishedAt="now"), "does not tell when"),
        (BY_FIELD, workflow(phase="Succeeded", finishedAt=stamp(5)), ""),
        (BY_CONDITION, workflow(conditions=7), "its condition Completed is not True"),
        (BY_CONDITION, workflow(conditions=["x", completed("False", stamp(5))]), "is not True"),
        (BY_CONDITION, workflow(conditions=[completed("True", None)]), "does not tell when"),
        (BY_CONDITION, workflow(conditions=[completed("True", stamp(5))]), ""),
    ],
)
def test_an_object_of_a_kind_that_the_chart_lists(
    kind: AwaitedKind | None, made: dict[str, Any] | None, said: str
) -> None:
    world = make_world(OBJECT)
    if kind is not None:
        world.cluster.awaited_kinds[kind.group, kind.kind] = kind
    world.settle()
    if made is not None:
        world.cluster.objects["Workflow", "load"] = copied(made)
    go_on(world, 60)
    if said:
        assert world.status["phase"] == "Waiting"
        assert said in world.status["message"]
    else:
        assert world.status["wait"]["upstreams"][0]["by"] == "load"
        assert len(world.cluster.created_jobs) == 1
