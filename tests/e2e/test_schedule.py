"""A schedule on a real node, by the real clock: every minute one run, and no other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from tests.support import product
from tests.support.kube import Manifest, apply, create, get, items, kubectl, resource, wait_for
from tests.support.recorded import look
from tests.support.scenarios import NAMESPACE, Scenario, make_load, manifests

NAME = "on-time"
ENDED = 2  # occurrences whose runs are waited for
ASKED = "asked"
CHAIN = ("staged", "build", "downstream")  # each follows on the one before
CHAIN_LOAD = "load-of-a-chain"
LOAD = {"app": CHAIN_LOAD}  # labels of the Job that the first one follows on
# Schedules whose runs take longer than a minute, by their policies.
SLOW = {"slow-forbid": "Forbid", "slow-queue": "Queue", "slow-replace": "Replace"}


def status(name: str = NAME) -> Manifest:
    found: Manifest = get("dbtschedule", name, NAMESPACE).get("status", {})
    return found


def runs(name: str = NAME) -> dict[str, Manifest]:
    label = f"--selector=dbt-operator.dev/schedule={name}"
    return {run["metadata"]["name"]: run for run in items("dbtrun", NAMESPACE, label)}


def ended(name: str = NAME) -> list[Manifest]:
    return [past for past in status(name).get("history", []) if past.get("run")]


def schedule(name: str, overlay: str, images: Mapping[str, str], **spec: Any) -> list[Manifest]:
    """A schedule that is due every minute, and what belongs to it."""
    *others, run = manifests(Scenario(name, "Succeeded", overlay=overlay), images)
    template = {"spec": run["spec"] | {"vars": {"at": "$(scheduled.time)"}}}
    made = {"schedules": ["* * * * *"], "runTemplate": template} | spec
    return [*others, resource("DbtSchedule", name, NAMESPACE, made)]


@pytest.fixture(scope="module")
def started(warehouse: None, images: Mapping[str, str]) -> Iterator[None]:  # noqa: ARG001 -- it has to be there first
    """All schedules, side by side."""
    names = (NAME, *SLOW, ASKED, *CHAIN)
    kubectl("delete", "dbtschedule", *names, "--ignore-not-found", "--wait", namespace=NAMESPACE)
    kubectl("delete", "job", CHAIN_LOAD, "--ignore-not-found", "--wait", namespace=NAMESPACE)
    apply(*schedule(NAME, "", images))
    for name, policy in SLOW.items():
        apply(*schedule(name, "slow", images, concurrencyPolicy=policy, finishWithin="20s"))
    yield
    kubectl("delete", "dbtschedule", *SLOW, "--wait=false", namespace=NAMESPACE)


@pytest.fixture(scope="module")
def scheduled(started: None, images: Mapping[str, str]) -> Manifest:  # noqa: ARG001 -- they have to be there first
    """The schedule's status after some occurrences, when it has been suspended."""
    wait_for(f"{ENDED} runs of the schedule have ended", lambda: len(ended()) >= ENDED)
    apply(*schedule(NAME, "", images, suspend=True))
    wait_for("the schedule is idle", is_idle)
    return status()


def is_idle() -> bool:
    found = status()
    suspended = any(
        condition["type"] == "Suspended" and condition["status"] == "True"
        for condition in found["conditions"]
    )
    return suspended and not found.get("active")


# What people ask for


def annotate(name: str, **annotations: str) -> None:
    pairs = [
        f"dbt-operator.dev/{key.replace('_', '-')}={text}" for key, text in annotations.items()
    ]
    kubectl("annotate", "dbtschedule", name, "--overwrite", *pairs, namespace=NAMESPACE)


def asked(images: Mapping[str, str]) -> list[Manifest]:
    """A schedule that is not due, with a request in its manifest, and a backfill for each
    occurrence.
    """
    *others, made = schedule(ASKED, "", images, schedules=["0 0 1 1 *"])
    run = made["spec"].pop("runTemplate")["spec"]
    run["vars"] = {"region": "$(window.key)", "at": "$(scheduled.date)"}
    backfill = {"runTemplate": {"spec": run}, "windows": {"keys": ["emea", "apac"]}}
    made["spec"]["backfillTemplate"] = {"spec": backfill}
    made["metadata"]["annotations"] = {"dbt-operator.dev/run-now": "from-git"}
    return [*others, made]


def backfills() -> list[Manifest]:
    return items("dbtbackfill", NAMESPACE, f"--selector=dbt-operator.dev/schedule={ASKED}")


# The clock has begun to work for the tests below when these begin.


@pytest.mark.usefixtures("started")
def test_a_request_in_a_manifest_is_not_carried_out(images: Mapping[str, str]) -> None:
    for _ in range(2):
        apply(*asked(images))
        wait_for("it is seen", lambda: status(ASKED).get("lastRunNow") == "from-git")
        assert backfills() == []
        kubectl("delete", "dbtschedule", ASKED, "--wait", namespace=NAMESPACE)


@pytest.mark.usefixtures("warehouse")
def test_each_new_value_is_one_run(images: Mapping[str, str]) -> None:
    apply(*asked(images))
    wait_for("it is accepted", lambda: condition(ASKED, "Ready") == "True")
    for _ in range(2):
        annotate(ASKED, run_now="one")
        wait_for("it is seen", lambda: status(ASKED).get("lastRunNow") == "one")
    wait_for("it has ended", lambda: ended(ASKED))
    (made,) = backfills()
    assert made["status"]["phase"] == "Succeeded"
    year = datetime.now(UTC).year
    run = made["spec"]["runTemplate"]["spec"]
    assert run["vars"] == {"region": "$(window.key)", "at": f"{year}-01-01"}
    annotate(ASKED, paused_until="forever", retry=made["metadata"]["name"])
    wait_for("its occurrence is run again", lambda: len(ended(ASKED)) > 1)
    assert condition(ASKED, "Suspended") == "True"
    again, first = ended(ASKED)
    assert (again["run"], again["phase"]) == (f"{first['run']}-r1", "Succeeded")
    assert [each["cause"] for each in (again, first)] == ["Retry", "RunNow"]
    kubectl("delete", "dbtschedule", ASKED, "--wait", namespace=NAMESPACE)


# What follows on others


def chain(images: Mapping[str, str], **first: Any) -> list[Manifest]:
    """Schedules that follow on each other, and the first one on a load."""
    after_load = {"triggers": [{"afterJob": {"selector": {"matchLabels": LOAD}}}], "debounce": "1s"}
    specs: list[Manifest] = [after_load | first]
    specs += [
        {"triggers": [{"afterSchedule": {"name": before}}], "debounce": "1s"}
        for before in CHAIN[:-1]
    ]
    found: list[Manifest] = []
    for name, spec in zip(CHAIN, specs, strict=True):
        *others, made = schedule(name, "", images)
        made["spec"] = {"runTemplate": made["spec"]["runTemplate"]} | spec
        found += [*others, made]
    return found


@pytest.mark.usefixtures("started")
def test_schedules_follow_on_each_other(images: Mapping[str, str]) -> None:
    apply(*chain(images))
    for name in CHAIN:
        wait_for(f"{name} is accepted", partial(holds, name, "Ready"))
    apply(make_load(CHAIN_LOAD, LOAD, images["dbt"]))
    for name in CHAIN:
        wait_for(f"{name} has ended", partial(ended, name))
    before = get("job", CHAIN_LOAD, NAMESPACE)["status"]["completionTime"]
    for name in CHAIN:
        (after,) = ended(name)
        assert (after["phase"], after["cause"]) == ("Succeeded", "Trigger")
        assert after["occurrence"] == before
        before = after["finishedAt"]


@pytest.mark.usefixtures("started")
def test_a_cycle_of_triggers_is_refused(images: Mapping[str, str]) -> None:
    apply(*chain(images))
    last = [{"afterSchedule": {"name": CHAIN[-1]}}]
    apply(*chain(images, triggers=last))
    for name in CHAIN:
        wait_for(f"{name} is refused", partial(holds, name, "Stalled"))
        assert f"{name} after " in status(name)["message"]
    apply(*chain(images))
    for name in CHAIN:
        wait_for(f"{name} is mended", partial(holds, name, "Ready"))
    kubectl("delete", "dbtschedule", *CHAIN, "--wait", namespace=NAMESPACE)


# How it is seen


@pytest.mark.parametrize(
    ("state", "change"),
    [
        ("accepted", {"schedules": ["0 0 1 1 *"]}),
        ("suspended", {"suspend": True}),
        ("invalid", {"timezone": "Europe/Atlantis"}),
    ],
)
@pytest.mark.usefixtures("warehouse")
def test_argo_cd_and_flux_see_how_it_is(
    state: str, change: Mapping[str, Any], images: Mapping[str, str]
) -> None:
    *others, made = schedule(f"seen-{state}", "", images, **change)
    apply(*others)
    look(create(made), "new")
    name = made["metadata"]["name"]
    wait_for("it is looked at", lambda: status(name).get("observedGeneration") == 1)
    look(get("dbtschedule", name, NAMESPACE), state)
    kubectl("delete", "dbtschedule", name, namespace=NAMESPACE)


@pytest.mark.parametrize("kind", ["DbtTarget", "DbtProject", "DbtRun", "DbtBackfill"])
@pytest.mark.usefixtures("warehouse")
def test_argo_cd_and_flux_see_what_is_wrong(kind: str, images: Mapping[str, str]) -> None:
    made = wrong(kind, images)
    name = made["metadata"]["name"]
    kubectl("delete", kind, name, "--ignore-not-found", "--wait", namespace=NAMESPACE)
    look(create(made), "new")
    wait_for(
        "it is looked at",
        lambda: product.condition(get(kind, name, NAMESPACE), "Stalled") == "True",
    )
    look(get(kind, name, NAMESPACE), "invalid")


def wrong(kind: str, images: Mapping[str, str]) -> Manifest:
    """An object that the API server takes and the operator refuses."""
    *others, run = manifests(Scenario("wrong", overlay=""), images)
    found = {each["kind"]: each for each in (*others, run)}
    backfill = {
        "runTemplate": {"spec": found["DbtRun"]["spec"]},
        "windows": {"keys": ["emea"]},
    }
    found["DbtBackfill"] = resource("DbtBackfill", "wrong", NAMESPACE, backfill)
    credential = {"name": "WAREHOUSE_PASSWORD", "value": "correct horse battery staple"}
    found["DbtTarget"]["spec"]["schemaPattern"] = r"\pL+"
    found["DbtProject"]["spec"]["env"] = [credential]
    *well, _ = manifests(Scenario("well", overlay=""), images)
    apply(*well)
    found["DbtRun"]["spec"] |= {
        "projectRef": {"name": "well"},
        "targetRef": {"name": "well"},
        "env": [credential],
    }
    return found[kind]


# By the clock


@pytest.mark.usefixtures("started")
def test_an_occurrence_is_skipped_while_the_run_before_is_at_work() -> None:
    def find_skipped() -> Manifest | None:
        found = status("slow-forbid")
        skipped = [past for past in found.get("history", []) if past["phase"] == "Skipped"]
        return found if skipped else None

    found = wait_for("an occurrence is skipped", find_skipped)
    assert condition("slow-forbid", "OnTime") == "False"
    run = get("dbtrun", found["active"][0]["name"], NAMESPACE)
    look(run, "running")
    assert found["late"]["occurrence"] == found["active"][0]["occurrence"]
    assert found["history"][0]["reason"] == "StillRunning"
    assert len(runs("slow-forbid")) == 1


def condition(name: str, kind: str) -> str | None:
    found = status(name).get("conditions", [])
    return next((each["status"] for each in found if each["type"] == kind), None)


def holds(name: str, kind: str) -> bool:
    return condition(name, kind) == "True"


@pytest.mark.usefixtures("started")
def test_an_occurrence_waits_for_the_run_before() -> None:
    found = wait_for("an occurrence waits", lambda: status("slow-queue").get("waiting"))
    (first,) = runs("slow-queue")
    assert found["occurrence"] > status("slow-queue")["lastScheduledTime"]
    cancel = '{"spec":{"cancel":true}}'
    kubectl("patch", "dbtrun", first, "--type=merge", "-p", cancel, namespace=NAMESPACE)
    wait_for("the next one begins", lambda: len(runs("slow-queue")) > 1)
    (past,) = ended("slow-queue")
    assert (past["run"], past["phase"], past["reason"]) == (first, "Cancelled", "Cancelled")


@pytest.mark.usefixtures("started")
def test_an_occurrence_replaces_the_run_before() -> None:
    (past, *_) = wait_for("a run was replaced", lambda: ended("slow-replace"))
    assert (past["phase"], past["reason"]) == ("Cancelled", "Replaced")
    found = wait_for("the next one has begun", lambda: status("slow-replace").get("active"))
    assert found[0]["occurrence"] > past["occurrence"]
    conditions = {each["type"] for each in status("slow-replace")["conditions"]}
    assert "LastRunSucceeded" not in conditions


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
    owners = [owner["uid"] for job in jobs for owner in job["metadata"].get("ownerReferences", [])]
    assert made["metadata"]["uid"] not in owners
