"""ttlAfterFinished."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dbt_operator.api.kinds.run import DbtRunStatus
from tests.support.builders import NOW, project, run, target
from tests.support.run_world import RUN, World, happy_path


def finished(ttl: str | None, **metadata: Any) -> World:
    manifest = run(**({"ttlAfterFinished": ttl} if ttl else {}))
    manifest["metadata"] |= metadata
    world = World(manifest, project(), target())
    world.now = NOW
    happy_path(world)
    assert world.status["finishedAt"] == "2026-01-02T03:05:10Z"
    return world


def test_a_run_is_deleted_when_its_time_has_come_whatever_happens_meanwhile() -> None:
    world = finished("1h")
    ended_at = NOW + timedelta(seconds=65)
    world.now = ended_at + timedelta(minutes=50)
    world.restart()
    assert world.reconciler.reconcile(RUN) == 600
    assert ("DbtRun", "nightly") in world.cluster.objects
    world.now = ended_at + timedelta(hours=1)
    world.restart()
    world.reconciler.reconcile(RUN)
    assert ("DbtRun", "nightly") not in world.cluster.objects


def test_without_a_ttl_a_run_stays() -> None:
    world = finished(None)
    world.now += timedelta(days=1000)
    writes = world.cluster.writes
    assert world.reconciler.reconcile(RUN) is None
    assert world.cluster.writes == writes


def test_a_run_that_has_not_ended_is_not_deleted() -> None:
    world = World(run(ttlAfterFinished="1s"), project(), target())
    world.settle()
    world.now += timedelta(minutes=5)
    world.settle()
    assert ("DbtRun", "nightly") in world.cluster.objects


@pytest.mark.parametrize(
    ("metadata", "manager"),
    [
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, "Helm"),
        ({"annotations": {"meta.helm.sh/release-name": "dbt"}}, "Helm"),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "dbt"}}, "Flux"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "dbt"}}, "Flux"),
        ({"labels": {"argocd.argoproj.io/instance": "dbt"}}, "Argo CD"),
        (
            {"annotations": {"argocd.argoproj.io/tracking-id": "dbt:dbt-operator.dev/DbtRun:a/b"}},
            "Argo CD",
        ),
        ({"labels": {"app.kubernetes.io/instance": "dbt"}}, "Argo CD or Helm"),
    ],
)
def test_what_somebody_would_create_again_stays_and_says_so(
    metadata: dict[str, Any], manager: str
) -> None:
    world = finished("1h", **metadata)
    before = DbtRunStatus.model_validate(world.status)
    world.now += timedelta(days=1)
    for _ in range(3):
        assert world.reconciler.reconcile(RUN) is None
    after = DbtRunStatus.model_validate(world.status)
    assert ("DbtRun", "nightly") in world.cluster.objects
    (expires,) = [condition for condition in after.conditions or [] if condition.type == "Expires"]
    assert (expires.status, expires.reason) == ("False", "ManagedByGitOps")
    assert f"{manager} manages this object" in expires.message
    rest = [condition for condition in after.conditions or [] if condition.type != "Expires"]
    assert after.model_copy(update={"conditions": rest}) == before


@pytest.mark.parametrize(
    "labels", [{"app.kubernetes.io/managed-by": "dbt-operator"}, {"app": "Helm"}, {}]
)
def test_other_labels_keep_nothing(labels: dict[str, str]) -> None:
    world = finished("1h", labels=labels)
    world.now += timedelta(hours=2)
    world.reconciler.reconcile(RUN)
    assert ("DbtRun", "nightly") not in world.cluster.objects
