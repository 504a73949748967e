"""What is taken away from under a run: the name of its Job, the Job, the pod, its image, its
namespace.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.fake_nodes import End
from tests.support.fault_proxy import Request, Rule
from tests.support.kube import Manifest, apply, create, get, items, kubectl, namespace, wait_for
from tests.support.stage import RUN, Stage

NEVER, SILENT = End(never=True), End(silent=True)
RETRIED = {"retry": {"maxAttempts": 3, "backoff": {"initial": "1s"}}}
AT_ONCE = ("--grace-period=0", "--force", "--wait=false")
STRANGER = {
    "restartPolicy": "Never",
    "containers": [{"name": "other", "image": "registry.example.com/other:1"}],
}


def start(scene: Stage, name: str, end: End, **spec: Any) -> None:
    """A run with a target of its own, whose first pod ends in a certain way."""
    scene.ends[name] = [end]
    apply(scene.target(name), scene.run(name, name, **(RETRIED | spec)))


def pod_at_work(scene: Stage, name: str) -> Manifest:
    """The run's pod, once the operator has seen it run."""
    wait_for(f"{name} runs", lambda: scene.seen(name).get("phase") == "Running")
    (pod,) = pods(scene, name)
    return pod


def pods(scene: Stage, name: str) -> list[Manifest]:
    return items("pods", scene.namespace, f"--selector={RUN}={name}")


def wait_until_gone(scene: Stage, name: str) -> None:
    """Wait until the run has no pod."""
    wait_for(f"the pod of {name} is gone", lambda: not pods(scene, name))


def next_one_runs(scene: Stage, name: str) -> None:
    """The slot is free: another run gets it."""
    apply(scene.run(f"{name}-next", name))
    assert scene.all_ended(f"{name}-next") == {f"{name}-next": "Succeeded"}
    assert scene.most_at_work(name, f"{name}-next") <= 1


def test_foreign_job_has_our_name(scene: Stage) -> None:
    """It is created just before ours is, with our labels. It is left alone, and tells nothing about
    the run.
    """
    foreign: list[Manifest] = []

    def be_first(request: Request) -> None:
        metadata = {
            "name": request.name,
            "namespace": scene.namespace,
            "labels": request.body["metadata"]["labels"],
        }
        spec = {"suspend": True, "template": {"spec": STRANGER}}
        foreign.append(
            create({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec})
        )

    rule = Rule(
        lambda r: r.kind == "jobs" and r.method == "POST" and r.name.startswith("foreign-"),
        1,
        be_first,
    )
    with scene.proxy.rule(rule):
        start(scene, "foreign", End())
        assert scene.all_ended("foreign") == {"foreign": "Failed/NameConflict"}
    found = get("job", foreign[0]["metadata"]["name"], scene.namespace)
    assert (found["metadata"]["uid"], found["metadata"].get("ownerReferences")) == (
        foreign[0]["metadata"]["uid"],
        None,
    )
    assert len(scene.jobs_of("foreign")) == 1
    next_one_runs(scene, "foreign")


# While the operator is away


@pytest.fixture(scope="module")
def damaged(scene: Stage) -> Stage:
    """Runs whose parts are deleted while no operator is there."""
    names = ("job-deleted", "pod-deleted", "pod-survives", "run-deleted")
    for name in names:
        start(scene, name, SILENT if name == "pod-survives" else NEVER)
    of = {name: pod_at_work(scene, name)["metadata"] for name in names}
    scene.kill_operator()
    for name in ("job-deleted", "pod-survives"):
        job = of[name]["ownerReferences"][0]["name"]
        kubectl(
            "delete", "job", job, "--cascade=background", "--wait=false", namespace=scene.namespace
        )
    kubectl("delete", "pod", of["pod-deleted"]["name"], *AT_ONCE, namespace=scene.namespace)
    kubectl("delete", "dbtrun", "run-deleted", namespace=scene.namespace)
    for name in ("job-deleted", "pod-deleted", "run-deleted"):
        wait_until_gone(scene, name)
    scene.start_operator()
    return scene


@pytest.mark.parametrize("what", ["job", "pod"])
def test_job_or_pod_deleted_before_its_result_was_read(damaged: Stage, what: str) -> None:
    """Nobody knows what came of it, so it is not run again by itself."""
    name = f"{what}-deleted"
    assert damaged.all_ended(name) == {name: "Failed/Unknown"}
    assert len(damaged.jobs_of(name)) == 1
    next_one_runs(damaged, name)


def test_job_deleted_but_its_pod_lives(damaged: Stage) -> None:
    """The slot stays with the pod, and nobody else is let in before it is gone."""
    name, waiting = "pod-survives", "pod-survives-waits"
    apply(damaged.run(waiting, name))
    wait_for(f"{waiting} is queued", lambda: damaged.seen(waiting).get("phase") == "Queued")
    assert damaged.holders_of(name) == [name]
    assert damaged.seen(name)["phase"] == "Running"
    (pod,) = pods(damaged, name)
    kubectl("delete", "pod", pod["metadata"]["name"], *AT_ONCE, namespace=damaged.namespace)
    assert damaged.all_ended(name, waiting) == {name: "Failed/Unknown", waiting: "Succeeded"}
    assert damaged.most_at_work(name, waiting) == 1


def test_cr_deleted_while_the_operator_is_away(damaged: Stage) -> None:
    next_one_runs(damaged, "run-deleted")
    wait_for("the slot is free again", lambda: not damaged.holders_of("run-deleted"))


@pytest.fixture
def gone(empty: Stage) -> Stage:
    """The namespace is deleted while no operator is there, with a run at work in it and another one
    in the queue.
    """
    apply(empty.project())
    empty.start_operator()
    start(empty, "prod", NEVER)
    pod_at_work(empty, "prod")
    apply(empty.run("prod-waits", "prod"))
    wait_for("the other one is queued", lambda: empty.seen("prod-waits").get("phase") == "Queued")
    empty.kill_operator()
    kubectl("delete", "namespace", empty.namespace, "--wait")
    return empty


def test_namespace_deleted_while_the_operator_is_away(gone: Stage) -> None:
    """Nothing of ours holds the deletion up; and in a namespace of the same name, all begins
    anew.
    """
    gone.start_operator()
    apply(namespace(gone.namespace))
    apply(gone.project())
    gone.runs.clear()
    start(gone, "prod", End())
    assert gone.all_ended("prod") == {"prod": "Succeeded"}
    assert not gone.operator_is_dead


# While the operator is there


def test_pod_evicted(scene: Stage) -> None:
    """As a drain does: the pod is asked to end, and the next attempt begins when it has."""
    start(scene, "evicted", NEVER)
    pod = pod_at_work(scene, "evicted")["metadata"]
    metadata = {"name": pod["name"], "namespace": scene.namespace}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    path = f"/api/v1/namespaces/{scene.namespace}/pods/{pod['name']}/eviction"
    kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    assert scene.all_ended("evicted") == {"evicted": "Succeeded"}
    first, second = scene.status("evicted")["attempts"]
    assert (first["reason"], second.get("reason")) == ("Infrastructure", None)
    assert len(scene.jobs_of("evicted")) == scene.was_at_work("evicted") == 2
    assert scene.most_at_work("evicted") == 1


PULL = End(waiting="ImagePullBackOff", message="Back-off pulling image: not found")
NOWHERE = {"pod": {"nodeSelector": {"dbt-operator.dev/nowhere": "at-all"}}}


@pytest.fixture(scope="module")
def hopeless(scene: Stage) -> Stage:
    start(scene, "oom", End(out_of_memory=True))
    start(scene, "image", PULL, startTimeout="3s")
    start(scene, "nowhere", End(), startTimeout="3s", **NOWHERE)
    return scene


@pytest.mark.parametrize(
    ("name", "reason"),
    [("oom", "OOMKilled"), ("image", "ImagePullFailed"), ("nowhere", "Unschedulable")],
)
def test_oom_image_cannot_be_pulled_unschedulable(hopeless: Stage, name: str, reason: str) -> None:
    """Each has its own reason, in bounded time, is not tried again by itself, and leaves its
    slot.
    """
    assert hopeless.all_ended(name) == {name: f"Failed/{reason}"}
    assert len(hopeless.jobs_of(name)) == 1
    next_one_runs(hopeless, name)
