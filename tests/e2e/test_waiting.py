"""Runs that wait for a load, on a real node: one comes late, others never."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial

import pytest

from tests.support import product
from tests.support.kube import Manifest, apply, get, kubectl, wait_for
from tests.support.scenarios import NAMESPACE, Scenario, make_load, manifests

LATE, FAILING, SKIPPING = "wait-late", "wait-in-vain", "wait-and-skip"
LOAD = "wait-load"
LABELS = {"app": LOAD}
MISSING = {
    FAILING: ("Fail", "Failed", "UpstreamMissing"),
    SKIPPING: ("Skip", "Skipped", "NotArrived"),
}


def waiting(name: str) -> Manifest | None:
    status: Manifest = get("dbtrun", name, NAMESPACE).get("status", {})
    return status if status.get("phase") == "Waiting" else None


def start(name: str, images: Mapping[str, str], *upstreams: Manifest) -> None:
    apply(*manifests(Scenario(name, run={"waitFor": list(upstreams)}), images))


@pytest.fixture(scope="module")
def started(warehouse: None, images: Mapping[str, str]) -> None:  # noqa: ARG001 -- it has to be there first
    """All runs, and no load."""
    names = (LATE, *MISSING)
    kubectl("delete", "dbtrun", *names, "--ignore-not-found", "--wait", namespace=NAMESPACE)
    kubectl("delete", "job", LOAD, "--ignore-not-found", "--wait", namespace=NAMESPACE)
    named = {"job": {"name": LOAD}, "newerThan": "1h"}
    start(LATE, images, named, {"job": {"selector": {"matchLabels": LABELS}}})
    for name, (outcome, *_) in MISSING.items():
        upstream = {"job": {"name": "no-such-load"}, "timeout": "5s", "onTimeout": outcome}
        start(name, images, upstream)


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize("name", MISSING)
def test_a_load_that_does_not_come_ends_the_run(name: str) -> None:
    end = product.wait_until_finished(name, NAMESPACE)["status"]
    _, phase, reason = MISSING[name]
    assert (end["phase"], end["reason"]) == (phase, reason)
    assert "Job no-such-load (it does not exist yet)" in end["message"]
    assert "attempts" not in end


@pytest.mark.usefixtures("started")
def test_a_run_begins_when_its_load_is_there(images: Mapping[str, str]) -> None:
    found = wait_for("the run waits", partial(waiting, LATE))
    assert f"Job {LOAD} (it does not exist yet)" in found["message"]
    holders = get("dbttarget", LATE, NAMESPACE).get("status", {}).get("holders", [])
    assert holders == [], "it holds no slot"
    apply(make_load(LOAD, LABELS, images["dbt"]))
    end = product.wait_until_finished(LATE, NAMESPACE)["status"]
    assert end["phase"] == "Succeeded"
    completed = get("job", LOAD, NAMESPACE)["status"]["completionTime"]
    wait = end["wait"]
    assert [each["completedAt"] for each in wait["upstreams"]] == [completed] * 2
    assert {each["by"] for each in wait["upstreams"]} == {LOAD}
    noticed = datetime.fromisoformat(wait["endedAt"]) - datetime.fromisoformat(completed)
    assert noticed.total_seconds() < 30, "a watch has told of it, and not the look once a minute"
    assert end["startedAt"] > completed
