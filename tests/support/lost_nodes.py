"""Runs on nodes that do not answer any more, each on a stage of its own, from the loss to the
end.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.fake_nodes import End
from tests.support.kube import Manifest, apply, kubectl, wait_for
from tests.support.stage import Stage, stage

FORCE_RELEASE = "dbt-operator.dev/force-release"


@dataclass(frozen=True)
class Found:
    """What was seen."""

    waiting: Manifest  # status of the run in the queue, when it said why it waits
    held: Manifest  # the holder, as it stood in the target's status then
    jobs: int  # of the run in the queue, at that moment
    first: Manifest  # status of the run whose node was lost, in the end
    target: Manifest  # status of the target, in the end
    at_work: int  # most pods that could be at work at a time


def released_by_force() -> Found:
    """Its pod is being deleted and does not end. Somebody knows that it is dead, and says so."""

    def release(scene: Stage, held: Manifest) -> None:
        annotation = f"{FORCE_RELEASE}={held['uid']}"
        kubectl("annotate", "dbttarget", "prod", annotation, namespace=scene.namespace)

    def over(scene: Stage) -> bool:
        return len(scene.ended("first", "waiting")) == 2

    return _go(_delete_pod, release, over)


def node_removed() -> Found:
    """The same, and the node is removed. There is no other one, so the next pod cannot be
    scheduled.
    """
    return _go(_delete_pod, _remove_node, _next_has_begun)


def node_fell_silent() -> Found:
    """Nobody deletes anything: the node is taken for lost by Kubernetes, which then wants the pod
    away.
    """

    def fall_silent(scene: Stage) -> None:
        scene.node.fall_silent()

    return _go(fall_silent, _remove_node, _next_has_begun)


CASES: dict[str, Callable[[], Found]] = {
    "released-by-force": released_by_force,
    "node-removed": node_removed,
}
if os.environ.get("DBT_OPERATOR_TEST_FULL"):
    CASES["node-fell-silent"] = node_fell_silent


def _go(
    lose: Callable[[Stage], None],
    act: Callable[[Stage, Manifest], None],
    over: Callable[[Stage], bool],
) -> Found:
    with stage(f"lost-node-{uuid.uuid4().hex[:6]}") as scene:
        scene.ends["first"] = [End(silent=True)]
        apply(scene.target("prod"), _impatient(scene.project()), scene.run("first", "prod"))
        scene.start_operator()
        wait_for("the first one runs", lambda: scene.seen("first").get("phase") == "Running")
        apply(scene.run("waiting", "prod"))
        wait_for("the other one is queued", lambda: scene.seen("waiting").get("phase") == "Queued")
        lose(scene)
        wait_for("it says why it waits", lambda: scene.seen("waiting").get("reason"))
        (held,) = scene.status("prod", "dbttarget")["holders"]
        waiting, jobs = scene.seen("waiting"), len(scene.jobs_of("waiting"))
        act(scene, held)
        wait_for("the slot has gone to the other one", lambda: over(scene))
        target = scene.status("prod", "dbttarget")
        return Found(
            waiting,
            held,
            jobs,
            scene.seen("first"),
            target,
            max(count for _, count in scene.holders),
        )


def _impatient(project: Manifest) -> Manifest:
    """Its pods are wanted away as soon as their node is known to be lost, and not five minutes
    later.
    """
    unreachable = {
        "key": "node.kubernetes.io/unreachable",
        "operator": "Exists",
        "effect": "NoExecute",
    }
    project["spec"]["pod"]["tolerations"].append(unreachable | {"tolerationSeconds": 0})
    return project


def _delete_pod(scene: Stage) -> None:
    (life,) = scene.node.lives.values()
    kubectl(
        "delete", "pod", life.name, "--grace-period=1", "--wait=false", namespace=scene.namespace
    )


def _remove_node(scene: Stage, _: Manifest) -> None:
    scene.node.remove()


def _next_has_begun(scene: Stage) -> bool:
    return scene.holders_of("prod") == ["waiting"] and bool(scene.jobs_of("waiting"))
