"""What is read of a pod in which somebody else's container lives beside ours."""

from __future__ import annotations

from typing import Any

import pytest

from dbt_operator.api.status import Reason
from dbt_operator.planning.attempt.pod_facts import pod_facts
from dbt_operator.planning.attempt.verdict import judge, stuck, uploaded
from tests.support.builders import upload
from tests.support.injected import (
    PROXY,
    RUNNING,
    ended_with,
    injected_pod,
    living_status,
    terminated,
)

REPORT = terminated(66, upload())
KILLED = terminated(66, "", 137, "OOMKilled")
BEFORE = terminated(20, "", 137, "OOMKilled")
BACKS_OFF = {"waiting": {"reason": "CrashLoopBackOff"}}
NEXT = {"running": {"startedAt": "2026-01-02T03:06:00Z"}}


@pytest.mark.parametrize(
    ("sidecar", "is_over"),
    [
        # As the kubelet goes on after the sidecar's end, however much of it is missed.
        ({"state": REPORT}, True),
        ({"state": BACKS_OFF, "lastState": REPORT}, True),
        ({"state": NEXT, "lastState": REPORT}, True),
        ({"state": terminated(80, upload()), "lastState": REPORT}, True),
        ({"state": terminated(80, "", 143), "lastState": REPORT}, True),
        ({"state": REPORT, "lastState": KILLED}, True),
        # It is at work, for the first time or again.
        ({"state": NEXT}, False),
        ({"state": NEXT, "lastState": BEFORE}, False),
        ({"state": NEXT, "lastState": terminated(20, upload())}, False),
        ({"state": NEXT, "lastState": KILLED}, False),
        # It is about to be started again, and uploads then.
        ({"state": BEFORE}, False),
        ({"state": BACKS_OFF, "lastState": BEFORE}, False),
        ({"state": KILLED}, False),
        ({"state": BACKS_OFF, "lastState": KILLED}, False),
    ],
)
def test_the_end_of_dbt_and_of_the_upload_shows_whatever_else_lives(
    sidecar: dict[str, Any], is_over: bool
) -> None:
    pod = pod_facts(injected_pod(living_status(sidecar)))
    assert (pod.work_ended, pod.outlives_work, pod.ended) == (is_over, is_over, False)
    found = uploaded(pod)
    assert (found.objects if found else None) == (9 if is_over else None)
    assert judge(pod, None).reason is None


def test_while_dbt_runs_no_end_of_the_sidecar_is_the_end() -> None:
    pod = pod_facts(injected_pod(living_status({"state": REPORT}, dbt=RUNNING)))
    assert not pod.work_ended


def test_a_sidecar_that_is_not_started_again_has_ended_as_it_is() -> None:
    deleting = injected_pod(living_status({"state": KILLED}))
    deleting["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:09Z"
    for pod in (deleting, injected_pod(living_status({"state": BEFORE}, terminated(66)))):
        facts = pod_facts(pod)
        assert facts.work_ended
        assert not facts.outlives_work
        assert uploaded(facts) is None


@pytest.mark.parametrize(
    ("proxy", "fields", "ended"),
    [
        (RUNNING, {}, False),
        ({"waiting": {"reason": "ImagePullBackOff"}}, {}, False),
        (terminated(67, "", 1), {}, True),
        # A native sidecar ends after ours: the kubelet sees to that.
        (RUNNING, {"init": True, "restartPolicy": "Always"}, True),
    ],
)
def test_a_pod_has_ended_when_its_ordinary_containers_have(
    proxy: dict[str, Any], fields: dict[str, Any], ended: bool
) -> None:
    assert pod_facts(injected_pod(living_status(proxy=proxy), **fields)).ended is ended


@pytest.mark.parametrize(
    "proxy",
    [terminated(66, "", 1), terminated(66, "", 137, "OOMKilled"), terminated(9, "no", 128)],
)
def test_what_becomes_of_the_others_changes_no_verdict(proxy: dict[str, Any]) -> None:
    pod = pod_facts(injected_pod(ended_with(proxy)))
    assert pod.ended
    assert judge(pod, None).reason is None


def test_a_pod_that_no_node_has_when_it_is_deleted_has_ended_although_a_finalizer_keeps_it() -> (
    None
):
    pod = injected_pod({"phase": "Pending"})
    assert not pod_facts(pod).ended
    pod["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:09Z"
    assert pod_facts(pod).ended
    pod["spec"]["nodeName"] = "node-a"
    assert not pod_facts(pod).ended


def starting(state: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A pod that waits for an injected init container."""
    said = {"name": PROXY, "image": "mesh:1", "state": state}
    waiting = {"name": "prepare", "state": {"waiting": {"reason": "PodInitializing"}}}
    status = {"phase": "Pending", "initContainerStatuses": [said, waiting]}
    return injected_pod(status, init=True, **fields)


@pytest.mark.parametrize(
    ("state", "fields", "reason", "words"),
    [
        (
            RUNNING,
            {},
            Reason.INFRASTRUCTURE,
            f"init container {PROXY}, which is not the operator's",
        ),
        (RUNNING, {"restartPolicy": "Always"}, Reason.INFRASTRUCTURE, "is not ready since"),
        (
            {"waiting": {"reason": "ErrImagePull", "message": "denied"}},
            {},
            Reason.IMAGE_PULL_FAILED,
            "mesh:1 cannot be pulled: denied",
        ),
    ],
)
def test_an_init_container_of_somebody_else_that_holds_up_dbt_is_named(
    state: dict[str, Any], fields: dict[str, Any], reason: Reason, words: str
) -> None:
    found = stuck(pod_facts(starting(state, **fields)), ())
    assert found.reason is reason
    assert words in found.message


def test_one_that_does_not_is_not() -> None:
    pod = starting(RUNNING, restartPolicy="Always")
    pod["status"]["initContainerStatuses"][0]["started"] = True
    assert "no event says why" in stuck(pod_facts(pod), ()).message


def test_one_that_fails_is_named_and_is_no_fault_of_the_run() -> None:
    pod = starting(terminated(4, "no iptables", 1, "Error"))
    pod["status"]["phase"] = "Failed"
    found = judge(pod_facts(pod), None)
    assert found.reason is Reason.INFRASTRUCTURE
    assert f"{PROXY}, which is not the operator's, ended with exit code 1" in found.message
    assert "no iptables" in found.message
