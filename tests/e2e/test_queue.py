"""Runs of one target, one at a time, on a real node: none of their pods overlap."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from functools import partial

import pytest

from tests.support import product
from tests.support.kube import Manifest, apply, get, items, kubectl, wait_for
from tests.support.recorded import look
from tests.support.scenarios import NAMESPACE, Scenario, manifests

TARGET = "queue"
PRIORITIES = {"queue": 0, "queue-patient": 0, "queue-urgent": 1}


def queued(name: str) -> Manifest | None:
    status: Manifest = get("dbtrun", name, NAMESPACE).get("status", {})
    return status if status.get("phase") == "Queued" else None


def _start(*runs: Manifest) -> None:
    kubectl("delete", "dbtrun", *PRIORITIES, "--ignore-not-found", "--wait", namespace=NAMESPACE)
    apply(*runs)


@pytest.fixture(scope="module")
def waiting(warehouse: None, images: Mapping[str, str]) -> dict[str, Manifest]:  # noqa: ARG001 -- it has to be there first
    """The status of two runs while they wait behind a third."""
    *others, first = manifests(Scenario(TARGET, "Succeeded"), images)
    _start(*others, first)
    wait_for("the first run holds the slot", lambda: _holders() == [TARGET])
    for name in ("queue-patient", "queue-urgent"):
        run = json.loads(json.dumps(first))
        run["metadata"]["name"] = name
        run["spec"]["priority"] = PRIORITIES[name]
        apply(run)
    return {
        name: wait_for(f"{name} is queued", partial(queued, name)) for name in list(PRIORITIES)[1:]
    }


def _holders() -> list[str]:
    status = get("dbttarget", TARGET, NAMESPACE).get("status", {})
    return [holder["name"] for holder in status.get("holders", [])]


def test_who_waits_says_behind_whom(waiting: dict[str, Manifest]) -> None:
    found = waiting["queue-patient"]
    assert found["queue"]["behind"][0] == TARGET
    look(get("dbtrun", "queue-patient", NAMESPACE), "queued")
    assert found["message"].startswith(f"waiting for a slot of DbtTarget {TARGET}: number ")
    row = kubectl("get", "dbttarget", TARGET, "--no-headers", namespace=NAMESPACE).split()
    assert TARGET in row


@pytest.mark.usefixtures("waiting")
def test_their_pods_do_not_overlap_and_the_urgent_one_comes_first() -> None:
    ends = [product.wait_until_finished(name, NAMESPACE) for name in PRIORITIES]
    assert [run["status"]["phase"] for run in ends] == ["Succeeded"] * 3
    intervals = sorted(
        (_interval(pod), pod["metadata"]["labels"]["dbt-operator.dev/run"])
        for pod in items("pods", NAMESPACE, f"--selector=dbt-operator.dev/target={TARGET}")
    )
    assert [name for _, name in intervals] == ["queue", "queue-urgent", "queue-patient"]
    for (before, _), (after, _) in itertools.pairwise(intervals):
        assert before[1] <= after[0]
    wait_for("the slot is free", lambda: _holders() == [])


def _interval(pod: Manifest) -> tuple[str, str]:
    """From the start of its first container to the end of its last one."""
    status = pod["status"]
    ended = [
        c["state"]["terminated"]
        for c in (*status["initContainerStatuses"], *status["containerStatuses"])
    ]
    return min(state["startedAt"] for state in ended), max(state["finishedAt"] for state in ended)
