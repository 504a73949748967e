"""The operator itself: what it may do, and that it can be killed at any moment."""

from __future__ import annotations

import json
import os
import random
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from tests.support import product
from tests.support.kube import (
    Manifest,
    apply,
    command,
    get,
    kubectl,
    namespace,
    resource,
    wait_for,
)
from tests.support.operators import operator
from tests.support.scenarios import NAMESPACE, SCENARIOS, Scenario, manifests

ACCOUNT = f"system:serviceaccount:{product.OPERATOR_NAMESPACE}:{product.RELEASE}"
KILLS = 20
AWAY = "e2e-away"  # a namespace whose schedules nobody sees to while the operator is away
CATCHING_UP = {"away-latest": "Latest", "away-all": "All"}
LONG = timedelta(minutes=3 if os.environ.get("DBT_OPERATOR_TEST_FULL") else 1)


@pytest.mark.usefixtures("installed")
def test_the_operator_has_no_verb_on_secrets_and_no_wildcard() -> None:
    listed = kubectl("auth", "can-i", "--list", f"--as={ACCOUNT}", namespace=NAMESPACE)
    resources = [line for line in listed.splitlines()[1:] if not line.startswith(" ")]
    assert any("dbtruns.dbt-operator.dev" in line for line in resources)
    assert [line for line in resources if "secrets" in line or "*" in line.split("[", 1)[0]] == []
    assert [line for line in resources if "*" in line and "/" not in line] == []
    for verb in ("get", "list", "watch", "create"):
        assert (
            command(
                "kubectl", "auth", "can-i", verb, "secrets", f"--as={ACCOUNT}", "-A", check=False
            ).strip()
            == "no"
        )


@dataclass
class Absence:
    """When the operator of the cluster was away, once it has been."""

    left: datetime | None = None
    back: datetime | None = None

    @property
    def missed(self) -> list[datetime]:
        """The full minutes of it, the last ten at most: a status tells of some more."""
        assert self.left is not None
        assert self.back is not None
        return minutes(self.left, self.back)[-10:]


@pytest.fixture(scope="module")
def absence(installed: None) -> Iterator[Absence]:  # noqa: ARG001 -- it has to be there first
    """Schedules that are due every minute, whose runs end at once, and an operator that will be
    away.
    """
    kubectl("delete", "namespace", AWAY, "--ignore-not-found", "--wait")
    apply(namespace(AWAY))
    for name, policy in CATCHING_UP.items():
        run = {
            "projectRef": {"name": "absent"},
            "targetRef": {"name": "absent"},
            "steps": [{"build": {}}],
            "startTimeout": "1s",
        }
        spec = {"schedules": ["* * * * *"], "catchUp": policy, "concurrencyPolicy": "Queue"}
        apply(resource("DbtSchedule", name, AWAY, spec | {"runTemplate": {"spec": run}}))
        wait_for(f"{name} is accepted", partial(is_accepted, name))
    yield Absence()
    kubectl("delete", "namespace", AWAY, "--wait=false")


@pytest.fixture
def no_operator(absence: Absence) -> Iterator[None]:
    """The operator in the cluster stands aside, for so long that schedules miss something."""
    with product.without_operator():
        left = absence.left = datetime.now(UTC)
        yield
        wait_for("it has been away for a while", lambda: datetime.now(UTC) - left >= LONG)
        absence.back = datetime.now(UTC)


def is_accepted(name: str) -> bool:
    return "cursor" in schedule_status(name)


def schedule_status(name: str) -> Manifest:
    found: Manifest = get("dbtschedule", name, AWAY).get("status", {})
    return found


def minutes(after: datetime, until: datetime) -> list[datetime]:
    """All full minutes after one moment and up to another."""
    first = after.replace(second=0, microsecond=0)
    count = int((until - first) / timedelta(minutes=1))
    return [first + timedelta(minutes=number) for number in range(1, count + 1)]


def told(name: str, *, ran: bool = False) -> set[datetime]:
    """The occurrences that the history tells of, or those of them that had a run."""
    found: set[datetime] = set()
    for past in schedule_status(name).get("history", []):
        if ran and "run" not in past:
            continue
        first = datetime.fromisoformat(past["occurrence"])
        last = datetime.fromisoformat(past.get("until", past["occurrence"]))
        found.update(minutes(first - timedelta(seconds=1), last))
    return found


@contextmanager
def every_job() -> Iterator[set[tuple[str, str]]]:
    """Name and UID of every Job that ever exists in the namespace, as a watch reports them."""
    argv = ["kubectl", "get", "jobs", "-n", NAMESPACE, "--watch", "-o", "json"]
    seen: set[tuple[str, str]] = set()
    with tempfile.TemporaryFile("w+") as file:
        process = subprocess.Popen([*argv, "--output-watch-events"], stdout=file, text=True)
        try:
            yield seen
        finally:
            process.terminate()
            process.wait()
            file.seek(0)
            seen.update(_identities(file.read()))


def _identities(text: str) -> Iterator[tuple[str, str]]:
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        event, end = decoder.raw_decode(text)
        metadata = event["object"]["metadata"]
        yield metadata["name"], metadata["uid"]
        text = text[end:]


@pytest.mark.usefixtures("scenarios", "no_operator")
def test_killed_twenty_times_at_random_it_never_makes_a_second_job(
    images: Mapping[str, str],
) -> None:
    chance = random.Random(20)  # noqa: S311 -- moments, not secrets
    names: list[str] = []
    with every_job() as jobs:
        for _ in range(KILLS):
            if not names or _finished(names[-1]):
                names.append(_start(images))
            with operator(NAMESPACE, images["runner"]) as process:
                _wait_while_it_works(process, chance.uniform(0.5, 6))
        with operator(NAMESPACE, images["runner"]):
            runs = [product.wait_until_finished(name, NAMESPACE) for name in names]
    assert [run["status"]["phase"] for run in runs] == ["Succeeded"] * len(runs)
    ours = [name for name, _ in jobs if name.startswith("kill-")]
    assert sorted(ours) == sorted(run["status"]["attempts"][0]["jobName"] for run in runs)
    assert all(len(run["status"]["attempts"]) == 1 for run in runs)


def _start(images: Mapping[str, str]) -> str:
    green: Scenario = SCENARIOS[0]
    run: Manifest = manifests(green, images)[-1]
    name = f"kill-{uuid.uuid4().hex[:6]}"
    run["metadata"]["name"] = name
    apply(run)
    return name


def _finished(name: str) -> bool:
    return product.condition(get("dbtrun", name, NAMESPACE), "Finished") == "True"


def _wait_while_it_works(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Until the moment of the kill; an operator that ends by itself before is an error."""
    try:
        code = process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return
    raise AssertionError(f"the operator ended by itself with {code}")


# The test above has let the operator be away.


@pytest.mark.parametrize("name", ["away-latest", "away-all"])
def test_what_a_schedule_has_missed_is_made_up_for(absence: Absence, name: str) -> None:
    missed = set(absence.missed)
    assert missed
    wait_for("all is told", lambda: missed <= told(name))
    ran = missed & told(name, ran=True)
    assert ran == missed if CATCHING_UP[name] == "All" else len(ran) <= 1
