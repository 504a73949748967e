"""Two operators at once, on stale knowledge, stopped anywhere: never more pods at work than the
target has slots.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbt_operator.common.keys import Key
from tests.support.simulation import EVERYTHING, NAMESPACE, World, lives

STEPS = st.one_of(
    st.tuples(st.just("step"), st.integers(0, 1), st.integers(1, 4)),
    st.tuples(st.just("hear"), st.integers(0, 1), st.sampled_from([*EVERYTHING, "all"])),
    st.tuples(st.just("cluster"), st.just(0), st.just(0)),
    st.tuples(st.just("end"), st.just(0), st.just(0)),
    st.tuples(st.just("cancel"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("delete"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("recreate"), st.just(0), st.just(0)),
)


def act(world: World, what: str, who: int, detail: Any) -> None:
    if what == "step":
        for _ in range(detail):
            world.operators[who].step()
    elif what == "hear":
        world.operators[who].hear(*(EVERYTHING if detail == "all" else (detail,)))
    elif what == "cluster":
        world.cluster()
    elif what == "end":
        world.server.end_pods()
    elif what == "recreate":
        world.server.recreate_target()
    elif ("DbtRun", f"run-{who}") in world.server.objects:
        manifest = world.server.objects["DbtRun", f"run-{who}"]
        if what == "cancel":
            manifest["spec"]["cancel"] = True
            world.server.touch(manifest)
        else:
            del world.server.objects["DbtRun", f"run-{who}"]


@given(steps=st.lists(STEPS, max_size=120), limit=st.integers(1, 2))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_pods_at_work_never_exceed_the_slots_and_every_run_ends(
    steps: list[tuple[str, int, Any]], limit: int
) -> None:
    world = World(runs=3, operators=2, limit=limit)
    try:
        for what, who, detail in steps:
            act(world, what, who, detail)
        world.settle()
    finally:
        world.stop()
    assert len(world.server.created_jobs) >= len(
        [p for p in world.phases().values() if p == "Succeeded"]
    )
    assert not [pod for pod in world.server.pods if lives(pod)]


@pytest.fixture
def world() -> Iterator[World]:
    """Of two runs the first one is worked on by the first operator, and the second one hears of
    nothing yet.
    """
    found = World(runs=2, operators=2)
    found.operators[0].keys = [Key("DbtRun", NAMESPACE, "run-0")]
    found.operators[1].keys = []
    yield found
    found.settle()
    found.stop()
    assert set(found.phases().values()) <= {"Succeeded", "Cancelled"}


def go_on(world: World, who: int) -> None:
    world.operators[who].hear(*EVERYTHING)
    world.operators[who].rest()
    world.cluster()


def test_a_paused_operator_that_creates_a_job_late_starts_no_pod(world: World) -> None:
    paused = world.operators[0]
    paused.step_until("create_job")
    act(world, "cancel", 0, 0)
    go_on(world, 1)
    go_on(world, 1)
    assert world.phases()["run-0"] == "Cancelled"
    go_on(world, 1)
    go_on(world, 1)
    assert world.at_work() == ["run-1"]
    paused.rest()
    world.cluster()
    go_on(world, 0)
    assert world.at_work() == ["run-1"]
    assert sorted(world.server.created_jobs) == ["run-0-0000-of--1", "run-1-1111-of--1"]


def test_a_paused_operator_that_opens_a_gate_late_has_the_slot(world: World) -> None:
    """The target is created anew just before: who lists Jobs and pods sees that pod, gate or no
    gate.
    """
    paused = world.operators[0]
    paused.step_until("create_job")
    paused.step()
    world.cluster()
    go_on_until_gate(world)
    world.server.recreate_target()
    go_on(world, 1)
    go_on(world, 1)
    paused.rest()
    world.cluster()
    assert world.at_work() == ["run-0"]


def go_on_until_gate(world: World) -> None:
    world.operators[0].hear("Job", "Pod")
    world.operators[0].step_until("open_gate")


def test_a_job_created_after_the_target_was_created_anew_and_given_away_waits(world: World) -> None:
    """Nobody but the paused operator knows that an attempt of run-0 is recorded: run-1 gets the new
    target's slot.
    """
    paused, other = world.operators
    paused.step_until("create_job")
    world.server.recreate_target()
    other.hear("DbtTarget")
    other.keys = [Key("DbtRun", NAMESPACE, "run-1")]
    other.rest()
    go_on_with_pods_only(world)
    paused.rest()
    world.cluster()
    paused.hear("Job", "Pod")
    paused.rest()
    world.cluster()
    assert len(world.at_work()) == 1


def go_on_with_pods_only(world: World) -> None:
    for _ in range(3):
        world.cluster()
        world.operators[1].hear("Job", "Pod")
        world.operators[1].rest()
    world.cluster()


def test_a_target_created_anew_while_a_pod_is_at_work_gives_nothing_away(world: World) -> None:
    first, other = world.operators
    first.rest()
    world.cluster()
    go_on(world, 0)
    assert world.at_work() == ["run-0"]
    world.server.recreate_target()
    other.hear("DbtTarget")
    other.keys = [Key("DbtRun", NAMESPACE, "run-1")]
    other.rest()
    go_on_with_pods_only(world)
    assert world.at_work() == ["run-0"]
    assert world.phases()["run-1"] == "Queued"


def test_who_knows_an_old_target_is_refused_and_looks_again(world: World) -> None:
    """No watch tells it, and there is no Job yet that a list would show."""
    first, other = world.operators
    first.step_until("create_job")
    other.keys = [Key("DbtRun", NAMESPACE, "run-1")]
    other.rest()
    assert [
        holder["name"] for holder in world.server.objects["DbtTarget", "prod"]["status"]["holders"]
    ] == ["run-0"]
    assert world.phases()["run-1"] == "Queued"
    assert (Key("DbtRun", NAMESPACE, "run-1"), 0.0) in other.done
