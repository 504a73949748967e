"""A schedule on a real node, by the real clock: every minute one run, and no other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.kube import Manifest, apply, create, get, items, kubectl, resource, wait_for
from tests.support.scenarios import NAMESPACE, Scenario, manifests

NAME = "on-time"
ENDED = 2  # occurrences whose runs are waited for


def status() -> Manifest:
    found: Manifest = get("dbtschedule", NAME, NAMESPACE).get("status", {})
    return found


def runs() -> dict[str, Manifest]:
    label = f"--selector=dbt-operator.dev/schedule={NAME}"
    return {run["metadata"]["name"]: run for run in items("dbtrun", NAMESPACE, label)}


def ended() -> list[Manifest]:
    return [past for past in status().get("history", []) if past.get("run")]


@pytest.fixture(scope="module")
def scheduled(warehouse: None, images: Mapping[str, str]) -> Manifest:  # noqa: ARG001 -- it has to be there first
    """The schedule's status after some occurrences, when it has been suspended."""
    *others, run = manifests(Scenario(NAME, "Succeeded"), images)
    template = run["spec"] | {"vars": {"at": "$(scheduled.time)"}}
    spec = {"schedules": ["* * * * *"], "runTemplate": {"spec": template}}
    kubectl("delete", "dbtschedule", NAME, "--ignore-not-found", "--wait", namespace=NAMESPACE)
    apply(*others, resource("DbtSchedule", NAME, NAMESPACE, spec))
    wait_for(f"{ENDED} runs of the schedule have ended", lambda: len(ended()) >= ENDED)
    apply(resource("DbtSchedule", NAME, NAMESPACE, spec | {"suspend": True}))
    wait_for("the schedule is idle", lambda: is_idle() and status())
    return status()


def is_idle() -> bool:
    found = status()
    suspended = any(
        condition["type"] == "Suspended" and condition["status"] == "True"
        for condition in found["conditions"]
    )
    return suspended and not found.get("active")


def test_each_occurrence_has_one_run_which_knows_its_time(scheduled: Manifest) -> None:
    found = runs()
    uid = get("dbtschedule", NAME, NAMESPACE)["metadata"]["uid"]
    past = [each for each in scheduled["history"] if each.get("run")]
    assert {each["run"] for each in past} == set(found)
    for each in past:
        at = datetime.fromisoformat(each["occurrence"]).astimezone(UTC)
        assert at.second == 0
        assert each["run"] == f"{NAME}-{uid[:8]}-{at:%Y%m%d%H%M}"
        run = found[each["run"]]
        assert run["spec"]["vars"] == {"at": each["occurrence"]}
        created = datetime.fromisoformat(run["metadata"]["creationTimestamp"])
        assert timedelta(0) <= created - at, "it does not begin before its time"
    assert {each["phase"] for each in past} == {"Succeeded"}
    assert len({each["occurrence"] for each in scheduled["history"]}) == len(scheduled["history"])


def test_its_status_says_what_was_done(scheduled: Manifest) -> None:
    conditions = {each["type"]: each["status"] for each in scheduled["conditions"]}
    assert conditions["Ready"] == "True"
    assert conditions["LastRunSucceeded"] == "True"
    assert conditions["Suspended"] == "True"
    assert "nextRunTimes" not in scheduled, "nothing is due while it is suspended"
    assert scheduled["lastSuccessTime"] == scheduled["history"][0]["finishedAt"]


def test_what_is_not_in_its_status_begins_nothing(scheduled: Manifest) -> None:
    """A run that somebody else made and that says it is the schedule's."""
    real = runs()[scheduled["history"][0]["run"]]
    name = f"{NAME}-forged"
    metadata = {
        "name": name,
        "namespace": NAMESPACE,
        "labels": real["metadata"]["labels"],
        "ownerReferences": real["metadata"]["ownerReferences"],
    }
    made = create({**resource("DbtRun", name, NAMESPACE, real["spec"]), "metadata": metadata})
    wait_for("the forged run is gone", lambda: name not in runs())
    jobs = json.loads(kubectl("get", "jobs", "-o", "json", namespace=NAMESPACE))["items"]
    owners = [job["metadata"]["ownerReferences"][0]["uid"] for job in jobs]
    assert made["metadata"]["uid"] not in owners
