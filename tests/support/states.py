"""Objects of every kind in every state, made by the operator's own reconciler."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.planning.common.names import PAUSED_UNTIL
from dbt_operator.reconcile.loop import Reconciler
from tests.support import builders
from tests.support.backfill_world import BackfillWorld, days
from tests.support.builders import (
    NOW,
    backfill,
    ended_status,
    failed_summary,
    project,
    run,
    running_status,
    summary,
    target,
)
from tests.support.fake_cluster import FakeCluster, Manifest
from tests.support.run_world import World, happy_path
from tests.support.schedule_world import ScheduleWorld, schedule

_MORNING = datetime(2026, 1, 2, 2, 59, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)


def make(kind: str, state: str) -> Manifest:
    """An object of a kind in a state."""
    return copy.deepcopy(_MAKERS[kind][state]())


def apply(manifest: Mapping[str, Any]) -> Manifest:
    """What becomes of an object that somebody has just applied, when the operator has looked at it
    once.
    """
    metadata = manifest["metadata"]
    fresh = builders.manifest(
        manifest["kind"], metadata["name"], manifest["spec"], namespace=metadata["namespace"]
    )
    return _reconcile(fresh)


# Targets and projects


def _reconcile(made: Manifest) -> Manifest:
    cluster, store = FakeCluster(made), Store()
    store.put(made["kind"], copy.deepcopy(made))
    metadata = made["metadata"]
    reconciler = Reconciler(cluster, store, "runner:1", lambda: NOW)  # type: ignore[arg-type]
    reconciler.reconcile(Key(made["kind"], metadata["namespace"], metadata["name"]))
    return cluster.objects[made["kind"], metadata["name"]]


# Runs


def _run(*reports: Manifest, **spec: Any) -> Manifest:
    """A run whose pod reports one status after another."""
    world = World(run(**spec), project(), target())
    world.settle()
    for report in reports:
        world.pod(report)
        world.settle()
    world.settle()
    return world.cluster.objects["DbtRun", "nightly"]


def _run_that_succeeded() -> Manifest:
    world = World()
    happy_path(world)
    return world.cluster.objects["DbtRun", "nightly"]


def _run_that_is_queued() -> Manifest:
    with _backfill_world() as world:
        world.tell(until=lambda: bool(world.server.working()))
        world.add(run())
        world.happen(2)
        return world.server.objects["DbtRun", "nightly"]


def _run_that_is_refused() -> Manifest:
    refused = run(steps=[{"build": {"fullRefresh": True}}])
    pinned = project(image=f"registry.example.com/dbt@sha256:{'0' * 64}")
    world = World(refused, pinned, target(protected=True))
    world.settle()
    return world.cluster.objects["DbtRun", "nightly"]


def _run_without_project() -> Manifest:
    world = World(run(), target())
    world.settle()
    return world.cluster.objects["DbtRun", "nightly"]


# Backfills


@contextmanager
def _backfill_world(**spec: Any) -> Iterator[BackfillWorld]:
    world = BackfillWorld(**spec)
    try:
        yield world
    finally:
        world.stop()


def _backfill(change: Callable[[BackfillWorld], None] = lambda _: None, **spec: Any) -> Manifest:
    """A backfill that has ended, after something was done about it when it was at work."""
    with _backfill_world(**spec) as world:
        change(world)
        world.tell()
        return world.server.objects["DbtBackfill", "past"]


def _cancel(world: BackfillWorld) -> None:
    world.tell(until=lambda: bool(world.server.working()))
    world.edit(cancel=True)


def _fail(world: BackfillWorld) -> None:
    world.server.failing = set(days([3]))


def _backfill_at_work() -> Manifest:
    with _backfill_world() as world:
        world.tell(until=lambda: bool(world.server.worked))
        return world.server.objects["DbtBackfill", "past"]


def _backfill_that_is_suspended() -> Manifest:
    with _backfill_world() as world:
        world.tell(until=lambda: bool(world.server.worked))
        world.edit(suspend=True)
        world.tell(until=lambda: world.status["phase"] == "Suspended")
        return world.server.objects["DbtBackfill", "past"]


# Schedules


def _schedule(change: Callable[[ScheduleWorld], None] = lambda _: None, **spec: Any) -> Manifest:
    """A schedule that has come to its first occurrence, after something was done about it."""
    world = ScheduleWorld(_MORNING, **spec)
    world.look()
    world.now += 2 * _MINUTE
    world.look()
    change(world)
    world.look()
    return world.manifest


def _new_schedule(**spec: Any) -> Manifest:
    world = ScheduleWorld(_MORNING, **spec)
    world.look()
    return world.manifest


def _refused_schedule() -> Manifest:
    world = ScheduleWorld(_MORNING)
    world.look()
    world.cluster.refusal = "exceeded quota: at most 10 runs"
    world.now += 2 * _MINUTE
    world.look()
    return world.manifest


_CREDENTIAL = {"name": "WAREHOUSE_PASSWORD", "value": "correct horse battery staple"}
_MAKERS: Mapping[str, Mapping[str, Callable[[], Manifest]]] = {
    "DbtTarget": {
        "new": target,
        "accepted": lambda: _reconcile(target()),
        "invalid": lambda: _reconcile(target(schemaPattern=r"\pL+")),
    },
    "DbtProject": {
        "new": project,
        "accepted": lambda: _reconcile(project()),
        "invalid": lambda: _reconcile(project(env=[_CREDENTIAL])),
    },
    "DbtRun": {
        "new": run,
        "waiting": _run_without_project,
        "queued": _run_that_is_queued,
        "running": lambda: _run(running_status()),
        "backing-off": lambda: _run(
            running_status(),
            ended_status(1, failed_summary("Unavailable")),
            retry={"maxAttempts": 2},
        ),
        "succeeded": _run_that_succeeded,
        "skipped": lambda: _run(running_status(), ended_status(0, summary("NotFresh"))),
        "failed": lambda: _run(running_status(), ended_status(1, failed_summary())),
        "cancelled": lambda: _run(cancel=True),
        "invalid": _run_that_is_refused,
    },
    "DbtBackfill": {
        "new": backfill,
        "running": _backfill_at_work,
        "suspended": _backfill_that_is_suspended,
        "succeeded": _backfill,
        "planned": lambda: _backfill(dryRun=True),
        "failed": lambda: _backfill(_fail),
        "cancelled": lambda: _backfill(_cancel),
        "invalid": lambda: _backfill(run={"vars": {"ds": "2024-01-01"}}),
    },
    "DbtSchedule": {
        "new": schedule,
        "accepted": _new_schedule,
        "running": _schedule,
        "succeeded": lambda: _schedule(lambda world: world.finish_runs()),
        "failed": lambda: _schedule(
            lambda world: world.finish_runs("Failed", reason="TestFailed", message="1 test failed")
        ),
        "suspended": lambda: _new_schedule(suspend=True),
        "paused": lambda: _schedule(lambda world: world.annotate(**{PAUSED_UNTIL: "forever"})),
        "refused": _refused_schedule,
        "invalid": lambda: _new_schedule(schedules=["0 0 30 2 *"]),
    },
}
