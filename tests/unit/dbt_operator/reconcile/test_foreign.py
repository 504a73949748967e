"""Jobs and pods that have our labels and are not ours: nobody is late because of them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from dbt_operator.cluster.store import Store
from dbt_operator.common.settings import Settings
from dbt_operator.planning.attempt.pod_facts import foreign
from dbt_operator.planning.leadership import Terms
from dbt_operator.process.assembly import Operator
from dbt_operator.reconcile.waking import find_concerned_by_part
from tests.support.builders import (
    UID,
    ended_status,
    part_labels,
    pod_manifest,
    project,
    run,
    running_status,
    target,
)
from tests.support.run_world import TARGET, World

JOB_NAME = {"batch.kubernetes.io/job-name": "nightly-11111111-1"}


def pod(labels: dict[str, str], owner: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "somebody-elses",
            "namespace": "analytics",
            "uid": "uid-of-somebody-elses",
            "resourceVersion": "7",
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": labels,
            **({"ownerReferences": [owner]} if owner else {}),
        },
        "spec": {},
        "status": running_status(),
    }


OF_A_JOB = {"kind": "Job", "name": "nightly-11111111-1", "uid": "uid-of-a-job", "controller": True}
FOREIGN = {
    "the run's UID only": pod({"dbt-operator.dev/run-uid": UID}),
    "UID and target": pod({"dbt-operator.dev/run-uid": UID, "dbt-operator.dev/target": "prod"}),
    "all but the run": pod(part_labels(run=None), OF_A_JOB),
    "no attempt": pod(part_labels(attempt="first"), OF_A_JOB),
    "no name": pod(part_labels(run="Nightly_Run"), OF_A_JOB),
    "another holder": pod(part_labels(holder_uid="uid-of-nobody"), OF_A_JOB),
    "no owner": pod(part_labels()),
    "of a ReplicaSet": pod(
        part_labels(), {"kind": "ReplicaSet", "name": "a", "uid": "b", "controller": True}
    ),
    "without controller": pod(part_labels(), {"kind": "Job", "name": "a", "uid": "b"}),
}
every_foreign_pod = pytest.mark.parametrize("stranger", FOREIGN.values(), ids=FOREIGN)


@every_foreign_pod
def test_a_foreign_pod_is_not_kept_and_concerns_nobody(stranger: dict[str, Any]) -> None:
    store = Store()
    assert not store.put("Pod", stranger)
    assert store.all("Pod") == []
    assert list(find_concerned_by_part("Pod", stranger, store)) == []


@every_foreign_pod
def test_an_operator_takes_over_whatever_pods_there_are(
    stranger: dict[str, Any], monkeypatch: Any
) -> None:
    monkeypatch.setattr("dbt_operator.process.assembly.Cluster", lambda **_: None)
    operator = Operator(Settings(namespaces=(), runner_image="runner:1", workers=1), Terms())
    operator._workers._threads.clear()
    operator.store.put("Pod", stranger)
    operator.store.put("DbtRun", run())
    operator._lead()
    assert len(operator.queue) == 1


@every_foreign_pod
def test_a_foreign_pod_holds_no_slot_and_tells_nothing_of_a_run(stranger: dict[str, Any]) -> None:
    world = World()
    done = copy.deepcopy(stranger) | {"status": ended_status()}
    world.cluster.pods = [stranger, done]
    for each in world.cluster.pods:
        world.store.put("Pod", each)
    world.settle()
    assert world.status["phase"] == "Pending"
    assert world.cluster.created_jobs == ["nightly-11111111-1"]
    world.pod(ended_status())
    world.cluster.pods.append(stranger)
    world.settle()
    assert world.status["phase"] == "Succeeded"
    assert world.cluster.objects["DbtTarget", "prod"]["status"]["holders"] == []


def job(
    labels: dict[str, str], *owners: dict[str, Any], name: str = "nightly-11111111-1"
) -> dict[str, Any]:
    manifest = pod(labels)
    manifest["metadata"] |= {"name": name, "ownerReferences": list(owners)}
    return manifest | {"kind": "Job", "status": {}}


OF_THE_RUN = {"kind": "DbtRun", "name": "nightly", "uid": UID, "controller": True}


@pytest.mark.parametrize(
    "stranger",
    [
        job({"dbt-operator.dev/run-uid": UID}, OF_THE_RUN),
        job(part_labels(), OF_THE_RUN | {"uid": "uid-of-another"}),
        job(part_labels(), {"kind": "CronJob", "name": "a", "uid": UID, "controller": True}),
        job(part_labels(), name="somebody-elses"),
    ],
)
def test_a_foreign_job_holds_no_slot(stranger: dict[str, Any]) -> None:
    assert foreign("Job", stranger)
    world = World(run(), project(), target())
    stranger["metadata"]["name"] = "somebody-elses"
    world.cluster.objects["Job", "somebody-elses"] = stranger
    world.restart()
    assert world.store.all("Job") == []
    world.settle()
    (holder,) = world.cluster.objects["DbtTarget", "prod"]["status"]["holders"]
    assert holder["name"] == "nightly"


# An orphan of ours


@pytest.mark.parametrize("cascade", ["of the Job", "of the run"])
def test_what_kubectl_has_orphaned_keeps_the_slot_as_long_as_it_runs(cascade: str) -> None:
    world = World()
    world.settle()
    world.pod(running_status())
    world.settle()
    made = world.cluster.objects["Job", "nightly-11111111-1"]
    (left,) = world.cluster.pods
    left["metadata"]["labels"] = left["metadata"]["labels"] | JOB_NAME
    world.cluster.objects.pop(("DbtRun", "nightly"))
    world.store.drop("DbtRun", run())
    if cascade == "of the Job":
        left["metadata"]["ownerReferences"] = []
        world.cluster.objects.pop(("Job", "nightly-11111111-1"))
    else:
        made["metadata"]["ownerReferences"] = []
    assert not foreign("Pod", left)
    assert not foreign("Job", made)
    world.woken = [TARGET]
    world.settle()
    assert [h["uid"] for h in world.cluster.objects["DbtTarget", "prod"]["status"]["holders"]] == [
        UID
    ]
    left["status"] = ended_status()
    made["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    world.woken = [TARGET]
    world.settle()
    assert world.cluster.objects["DbtTarget", "prod"]["status"]["holders"] == []


def test_every_part_that_we_make_is_ours() -> None:
    world = World()
    world.settle()
    made = world.cluster.objects["Job", "nightly-11111111-1"]
    assert not foreign("Job", made)
    assert not foreign("Pod", pod_manifest(made, running_status()))


# Labels that are changed


def test_a_part_whose_labels_are_changed_is_forgotten_with_all_that_was_known_of_it() -> None:
    store = Store()
    mine = pod(part_labels(), OF_A_JOB)
    store.put("Pod", mine)
    other = copy.deepcopy(mine)
    other["metadata"] |= {"labels": part_labels("uid-of-another"), "resourceVersion": "8"}
    store.put("Pod", other)
    assert store.of_run("Pod", UID) == []
    assert len(store.of_run("Pod", "uid-of-another")) == 1
    none = copy.deepcopy(other)
    none["metadata"] |= {"labels": {"dbt-operator.dev/run-uid": UID}, "resourceVersion": "9"}
    store.put("Pod", none)
    assert (
        store.of_run("Pod", UID) == store.of_run("Pod", "uid-of-another") == store.all("Pod") == []
    )
