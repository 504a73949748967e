"""A DbtTarget that is deleted and created anew has no holders in its status: no second pod may come
of that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.support.fake_nodes import End
from tests.support.fault_proxy import Request, Rule
from tests.support.kube import apply, get, items, kubectl, wait_for
from tests.support.stage import RUN, Stage


def _attempts(request: Request) -> list[dict[str, str]]:
    """The attempts that a write to a run's status records."""
    found: list[dict[str, str]] = (request.body.get("status") or {}).get("attempts") or []
    return found if request.kind == "dbtruns" and request.method == "PATCH" else []


# What the operator is about to write for the first run when the target is deleted and created anew.
MOMENTS: dict[str, Callable[[Request], bool]] = {
    "attempt": lambda r: any("jobUID" not in attempt for attempt in _attempts(r)),
    "job": lambda r: r.kind == "jobs" and r.method == "POST",
    "job-uid": lambda r: any("jobUID" in attempt for attempt in _attempts(r)),
    "gate": lambda r: r.kind == "pods" and r.method == "PATCH",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_target_deleted_and_recreated_before_a_write_of_an_active_run(
    scene: Stage, moment: str
) -> None:
    first, second, target = f"{moment}-first", f"{moment}-second", scene.target(moment)
    scene.ends |= {first: [End(after=1)], second: [End(after=1)]}
    rule = Rule(
        lambda r: r.name.startswith(first) and MOMENTS[moment](r), times=1, held=threading.Event()
    )
    apply(target)
    with scene.proxy.rule(rule):
        apply(scene.run(first, moment))
        wait_for(f"{first} is held up", lambda: rule.taken)
        scene.create_anew(target)
        apply(scene.run(second, moment))
        wait_for(f"{second} is queued, or has a slot", lambda: scene.seen(second).get("phase"))
    _check(scene, first, second)


@pytest.mark.parametrize("edited", [False, True], ids=["as-it-was", "edited"])
def test_target_deleted_and_recreated_while_a_pod_is_at_work(scene: Stage, edited: bool) -> None:
    name = f"at-work-{'edited' if edited else 'same'}"
    first, second = f"{name}-first", f"{name}-second"
    over = threading.Event()
    scene.ends |= {first: [End(until=over)], second: [End(after=1)]}
    apply(scene.target(name), scene.run(first, name))
    wait_for(f"{first} is at work", lambda: first in scene.at_work())
    scene.create_anew(
        scene.target(name, **({"env": [{"name": "WAREHOUSE", "value": "other"}]} if edited else {}))
    )
    apply(scene.run(second, name))
    wait_for(f"{second} is queued", lambda: scene.seen(second).get("phase") == "Queued")
    assert scene.at_work().count(first) == 1
    assert wait_for("the new target knows who is there", lambda: scene.holders_of(name)) == [first]
    over.set()
    _check(scene, first, second)


def test_target_recreated_and_run_deleted_while_its_pod_lives(scene: Stage) -> None:
    """Nothing tells of the pod but the pod: its run and its Job are gone, and the new target has no
    holders.
    """
    name = "orphan"
    first, second = f"{name}-first", f"{name}-second"
    scene.ends[first] = [End(silent=True)]
    target = scene.target(name)
    apply(target, scene.run(first, name))
    wait_for(f"{first} runs", lambda: scene.seen(first).get("phase") == "Running")
    selector = f"--selector={RUN}={first}"
    (pod,) = items("pods", scene.namespace, selector)
    kubectl("delete", "dbtrun", first, namespace=scene.namespace)
    wait_for("its Job is gone", lambda: not items("jobs", scene.namespace, selector))
    scene.create_anew(target)
    apply(scene.run(second, name))
    wait_for(f"{second} is queued", lambda: scene.seen(second).get("phase") == "Queued")
    assert scene.holders_of(name) == [first]
    kubectl(
        "delete",
        "pod",
        pod["metadata"]["name"],
        "--grace-period=0",
        "--force",
        namespace=scene.namespace,
    )
    assert scene.all_ended(second) == {second: "Succeeded"}
    assert scene.most_at_work(first, second) == 1


def _check(scene: Stage, first: str, second: str) -> None:
    assert scene.all_ended(first, second) == dict.fromkeys((first, second), "Succeeded")
    assert [len(scene.jobs_of(name)) for name in (first, second)] == [1, 1]
    assert scene.most_at_work(first, second) == 1


def test_attempts_stay_as_resolved_when_target_and_project_are_deleted_or_edited(
    scene: Stage,
) -> None:
    """The second attempt is made when the project is another one, and the target is gone and has
    come back.
    """
    run, target = "resolved", scene.target("resolved", env=[{"name": "WAREHOUSE", "value": "a"}])
    edited = threading.Event()
    scene.ends[run] = [End(until=edited, reason="Unavailable")]
    apply(target, scene.project("own"))
    retry = {"maxAttempts": 2, "backoff": {"initial": "2s"}}
    apply(scene.run(run, "resolved", "own", retry=retry))
    wait_for("the first attempt is at work", lambda: run in scene.at_work())
    other = scene.project("own")
    other["spec"]["image"] = "registry.example.com/dbt:2.0"
    apply(other)
    target["spec"]["env"][0]["value"] = "b"
    scene.create_anew(target)
    edited.set()
    assert scene.all_ended(run) == {run: "Succeeded"}
    jobs = items("jobs", scene.namespace, f"--selector={RUN}={run}")
    assert len(jobs) == len(scene.jobs_of(run)) == 2
    containers = [job["spec"]["template"]["spec"]["containers"][0] for job in jobs]
    assert [container["image"] for container in containers] == ["registry.example.com/dbt:1.0"] * 2
    assert [
        {"name": "WAREHOUSE", "value": "a"} in container["env"] for container in containers
    ] == [True, True]
    assert (
        get("dbtrun", run, scene.namespace)["status"]["resolved"]["image"]
        == "registry.example.com/dbt:1.0"
    )
    assert scene.most_at_work(run) == 1
