"""The reconciler against an API server in memory: kills at every write, stale watches, refusals."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbt_operator.cluster.errors import ClusterError, InvalidError
from dbt_operator.cluster.store import Store
from dbt_operator.common.keys import Key
from dbt_operator.reconcile.loop import Reconciler
from dbt_operator.reconcile.write import merge_patch
from tests.support.builders import (
    backfill,
    ended_status,
    failed_summary,
    pod_manifest,
    project,
    run,
    running_status,
    target,
)
from tests.support.fake_cluster import KilledError, _merged
from tests.support.run_world import RUN, TARGET, World, happy_path


def test_a_run_from_creation_to_success() -> None:
    world = World()
    happy_path(world)
    assert world.status["phase"] == "Succeeded"
    assert world.cluster.created_jobs == ["nightly-11111111-1"]
    assert [event.reason for event in world.cluster.events] == ["Running", "Succeeded"]


def test_a_run_takes_few_writes() -> None:
    world = World()
    happy_path(world)
    assert world.cluster.writes <= 8 + 1  # the one says that the target is well, once for all runs


def _writes() -> int:
    world = World()
    happy_path(world)
    return world.cluster.writes


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(1, _writes() + 1))
def test_killed_at_any_write_it_converges_with_one_job(number: int, after: bool) -> None:
    world = World()

    def kill(write: int) -> None:
        if write == number:
            raise KilledError

    setattr(world.cluster, "after_write" if after else "before_write", kill)
    happy_path(world)
    assert world.status["phase"] == "Succeeded"
    assert world.cluster.created_jobs == ["nightly-11111111-1"]


@given(st.sets(st.integers(1, 12)), st.booleans())
def test_killed_at_any_set_of_writes_it_converges_with_one_job(
    numbers: set[int], after: bool
) -> None:
    world = World()

    def kill(write: int) -> None:
        if write in numbers:
            raise KilledError

    setattr(world.cluster, "after_write" if after else "before_write", kill)
    happy_path(world)
    assert world.status["phase"] == "Succeeded"
    assert world.cluster.created_jobs == ["nightly-11111111-1"]


def test_a_stale_store_leads_to_no_second_job() -> None:
    """The watch is behind: it still shows the run as it was created."""
    world = World()
    stale = run()
    happy_path(world)
    world.store = Store()
    for manifest in (stale, project(), target()):
        world.store.put(manifest["kind"], manifest)
    world.reconciler = Reconciler(world.cluster, world.store, "runner:1", lambda: world.now)  # type: ignore[arg-type]
    world.settle()
    assert world.status["phase"] == "Succeeded"
    assert len(world.cluster.created_jobs) == 1


def test_two_operators_make_one_job() -> None:
    world = World()
    other = World(*world.cluster.objects.values())
    other.cluster = world.cluster
    other.restart()
    for _ in range(6):
        world.reconciler.reconcile(RUN)
        other.reconciler.reconcile(RUN)
    assert len(world.cluster.created_jobs) == 1


def test_states_that_somebody_has_written_meanwhile_are_kept() -> None:
    """The store has not heard of them: the write is refused, and the next one is made of what there
    is.
    """
    world = World()
    world.settle()
    world.pod(running_status())
    world.settle()
    fresh = world.cluster.get("DbtProject", "analytics", "shop")
    fresh["metadata"]["resourceVersion"] = world.cluster._next_version()
    entry = {
        "target": "ci",
        "run": "pull-request",
        "key": "states/ci",
        "at": "2026-01-02T03:04:05Z",
    }
    fresh["status"] = {"states": [entry]}
    world.cluster.objects["DbtProject", "shop"] = fresh
    world.pod(ended_status())
    world.settle()
    states = world.cluster.objects["DbtProject", "shop"]["status"]["states"]
    assert [state["target"] for state in states] == ["ci", "prod"]


def test_edits_after_admission_change_nothing() -> None:
    world = World()
    assert world.reconciler.reconcile(RUN) == 0.0
    world.cluster.objects["DbtProject", "shop"]["spec"]["image"] = "registry.example.com/evil:2"
    world.restart()
    world.settle()
    (container,) = world.cluster.objects["Job", "nightly-11111111-1"]["spec"]["template"]["spec"][
        "containers"
    ]
    assert container["image"] == "registry.example.com/dbt:1.0"


def test_a_run_that_is_being_deleted_is_left_alone() -> None:
    manifest = run()
    manifest["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:06Z"
    world = World(manifest, project(), target())
    world.woken = []
    world.settle()
    assert world.cluster.writes == 0


def test_references_that_arrive_later_are_picked_up() -> None:
    world = World(run())
    world.settle()
    assert world.status["phase"] == "Pending"
    for manifest in (project(), target()):
        world.cluster.objects[manifest["kind"], manifest["metadata"]["name"]] = manifest
    world.settle()
    assert world.cluster.created_jobs


def test_a_refused_job_ends_in_an_error_that_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    def refuse(_: Any) -> None:
        raise InvalidError("403 Forbidden: exceeded quota")

    monkeypatch.setattr(world.cluster, "create_job", refuse)
    world.settle()
    assert "exceeded quota" in world.status["message"]
    world.now += timedelta(minutes=11)
    world.settle()
    assert (world.status["phase"], world.status["reason"]) == ("Failed", "ConfigError")


TEAM_QUOTA = "is forbidden: exceeded quota: team, requested: {0}=1, used: {0}=5, limited: {0}=5"
OF_PODS = f'FailedCreate: Error creating: pods "x" {TEAM_QUOTA.format("pods")}'
OF_JOBS = f'403 Forbidden: jobs.batch "x" {TEAM_QUOTA.format("count/jobs.batch")}'


@pytest.mark.parametrize("of_jobs", [False, True], ids=["pods", "jobs"])
def test_a_quota_that_has_room_in_time_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, of_jobs: bool
) -> None:
    world = World()
    with monkeypatch.context() as quota:
        _use_up_quota(world, quota, of_jobs=of_jobs)
        world.settle()
        for _ in range(5):
            world.now += timedelta(minutes=1)
            world.settle()
            assert world.status["phase"] == "Pending"
            assert "the ResourceQuota team is used up (requested: " in world.status["message"]
    world.cluster.warning_events = ()
    world.settle()
    world.pod(running_status())
    world.settle()
    assert world.status["phase"] == "Running"
    assert len(world.cluster.created_jobs) == 1


@pytest.mark.parametrize("of_jobs", [False, True], ids=["pods", "jobs"])
def test_a_quota_that_has_no_room_in_time_ends_as_a_full_cluster_does(
    monkeypatch: pytest.MonkeyPatch, of_jobs: bool
) -> None:
    world = World()
    _use_up_quota(world, monkeypatch, of_jobs=of_jobs)
    _wait_in_vain(world)
    assert (world.status["phase"], world.status["reason"]) == ("Failed", "Unschedulable")
    assert "the ResourceQuota team is used up" in world.status["message"]
    assert "(startTimeout 10m)" in world.status["message"]


@pytest.mark.parametrize("of_jobs", [False, True], ids=["pods", "jobs"])
def test_an_attempt_that_a_quota_had_no_room_for_is_followed_by_another(
    monkeypatch: pytest.MonkeyPatch, of_jobs: bool
) -> None:
    retry = {"maxAttempts": 2, "reasons": ["Unschedulable"], "backoff": {"initial": "30s"}}
    world = World(run(retry=retry), project(), target())
    with monkeypatch.context() as quota:
        _use_up_quota(world, quota, of_jobs=of_jobs)
        _wait_in_vain(world)
    assert (world.status["phase"], world.status["reason"]) == ("BackingOff", "Unschedulable")
    world.cluster.warning_events = ()
    world.now += timedelta(minutes=1)
    world.settle()
    world.pod(ended_status())
    world.settle()
    assert world.status["phase"] == "Succeeded"
    assert [each.get("reason") for each in world.status["attempts"]] == ["Unschedulable", None]
    assert world.cluster.created_jobs[-1] == "nightly-11111111-2"


def _wait_in_vain(world: World) -> None:
    """Let startTimeout pass, and tell the operator of its Job's deletion."""
    world.cluster.clock = lambda: world.now
    world.settle()
    world.now += timedelta(minutes=11)
    world.settle()
    world.restart()
    world.settle()
    assert not [name for kind, name in world.cluster.objects if kind == "Job"]


def _use_up_quota(world: World, monkeypatch: pytest.MonkeyPatch, *, of_jobs: bool) -> None:
    """Let a quota have no room for pods, or for Jobs already."""

    def refuse(_: Any) -> None:
        raise InvalidError(OF_JOBS)

    if of_jobs:
        monkeypatch.setattr(world.cluster, "create_job", refuse)
    else:
        world.cluster.warning_events = (OF_PODS,)


def test_a_spec_that_the_models_refuse_ends_in_invalid_spec() -> None:
    world = World(run(steps=[{"build": {}, "run": {}}]), project(), target())
    world.settle()
    assert (world.status["phase"], world.status["reason"]) == ("Failed", "InvalidSpec")
    assert "exactly one" in world.status["message"]
    writes = world.cluster.writes
    world.now += timedelta(minutes=5)
    world.settle()
    assert world.cluster.writes == writes, "said once"


def test_a_failure_is_recorded_with_its_nodes() -> None:
    world = World()
    world.settle()
    world.pod(ended_status(1, failed_summary()))
    world.settle()
    assert world.status["reason"] == "ModelError"
    assert world.status["failures"][0]["uniqueId"] == "model.shop.orders"


def test_a_pod_that_cannot_mount_its_secret_is_given_up_and_its_job_deleted() -> None:
    world = World(run(startTimeout="1m"), project(), target())
    world.settle()
    world.pod({"phase": "Pending"})
    world.cluster.warning_events = ('FailedMount: secret "warehouse" not found',)
    world.now += timedelta(seconds=20)
    world.settle()
    assert "warehouse" in world.status["message"]
    world.now += timedelta(seconds=60)
    world.settle()
    world.settle()
    assert world.cluster.deleted_jobs
    assert world.status["phase"] == "Pending"
    world.store.drop("Pod", world.cluster.pods[0])
    world.store.retain("Job", (), "99999")
    world.cluster.pods = []
    world.settle()
    assert (world.status["phase"], world.status["reason"]) == ("Failed", "ConfigError")
    assert "warehouse" in world.status["message"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abc", min_size=1, max_size=1), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text("abc", min_size=1, max_size=1), JSON, max_size=3)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return value


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_turns_the_old_into_the_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    old, new = _without_nulls(old), _without_nulls(new)
    patch = merge_patch(old, new)
    assert _merged(old, patch) == new
    assert bool(patch) == (old != new)


def test_a_pod_that_the_watch_has_not_told_of_is_asked_for_before_the_run_is_given_up() -> None:
    world = World(run(startTimeout="10s"), project(), target())
    world.settle()
    job = world.cluster.objects["Job", "nightly-11111111-1"]
    unschedulable = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "no memory",
    }
    world.cluster.pods = [pod_manifest(job, {"phase": "Pending", "conditions": [unschedulable]})]
    world.now += timedelta(seconds=11)
    world.settle()
    assert world.status["attempts"][0]["reason"] == "Unschedulable"


@pytest.mark.parametrize("pod", [running_status, ended_status])
def test_what_the_store_has_missed_is_looked_up_before_it_is_taken_for_gone(pod: Any) -> None:
    world = World()
    world.settle()
    world.pod(pod())
    world.store = Store()
    for kind in ("DbtRun", "DbtProject", "DbtTarget"):
        name = {"DbtRun": "nightly", "DbtProject": "shop", "DbtTarget": "prod"}[kind]
        world.store.put(kind, world.cluster.objects[kind, name])
    if (
        pod is ended_status
    ):  # the Job has ended too: only then is a pod that is not in the store worth a question
        job = world.cluster.objects["Job", "nightly-11111111-1"]
        job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    world.reconciler = Reconciler(world.cluster, world.store, "runner:1", lambda: world.now)  # type: ignore[arg-type]
    world.settle()
    assert world.status["phase"] == ("Succeeded" if pod is ended_status else "Pending")
    assert len(world.cluster.created_jobs) == 1


def test_the_slot_is_given_back_although_the_answer_to_the_write_of_the_end_was_lost() -> None:
    world = World()
    world.settle()
    world.pod(ended_status())

    def lose(_: int) -> None:
        if world.status.get("phase") == "Succeeded":
            world.cluster.after_write = lambda _: None
            raise ClusterError("the connection was cut")

    world.cluster.after_write = lose
    with pytest.raises(ClusterError):
        world.settle()
    world.woken.clear()
    world.store.put("DbtRun", world.cluster.objects["DbtRun", "nightly"])  # as a watch tells it
    world.settle()
    assert world.cluster.objects["DbtTarget", "prod"]["status"]["holders"] == []


def test_so_is_that_of_a_backfill() -> None:
    ended = backfill()
    ended["status"] = {"phase": "Succeeded"}
    full = target()
    holder = {
        "kind": "DbtBackfill",
        "name": "past",
        "uid": ended["metadata"]["uid"],
        "since": "2026-01-02T03:04:05Z",
    }
    full["status"] = {"holders": [holder]}
    world = World(ended, full)
    world.woken.clear()
    world.reconciler.reconcile(Key("DbtBackfill", "analytics", "past"))
    assert world.woken == [TARGET]
