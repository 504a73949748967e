"""Two operators at once, on stale knowledge, stopped anywhere: never more pods at work than the target has slots."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.operator.simulation import EVERYTHING, World, lives

STEPS = st.one_of(
    st.tuples(st.just("step"), st.integers(0, 1), st.integers(1, 12)),
    st.tuples(st.just("hear"), st.integers(0, 1), st.sampled_from(EVERYTHING)),
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
        world.operators[who].hear(detail)
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
            world.server._touch(manifest)
        else:
            del world.server.objects["DbtRun", f"run-{who}"]


@given(steps=st.lists(STEPS, max_size=60), limit=st.integers(1, 2))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_pods_at_work_never_exceed_the_slots_and_every_run_ends(steps: list[tuple[str, int, Any]], limit: int) -> None:
    world = World(runs=3, operators=2, limit=limit)
    try:
        for what, who, detail in steps:
            act(world, what, who, detail)
        world.settle()
    finally:
        world.stop()
    assert len(world.server.created_jobs) >= len([p for p in world.phases().values() if p == "Succeeded"])
    assert not [pod for pod in world.server.pods if lives(pod)]
