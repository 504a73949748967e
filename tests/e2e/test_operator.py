"""The operator itself: what it may do, and that it can be killed at any moment."""

from __future__ import annotations

import json
import random
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from tests.support import product
from tests.support.kube import Manifest, apply, command, get, kubectl
from tests.support.operators import operator
from tests.support.scenarios import NAMESPACE, SCENARIOS, Scenario, manifests

ACCOUNT = f"system:serviceaccount:{product.OPERATOR_NAMESPACE}:{product.RELEASE}"
KILLS = 20


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


@pytest.fixture
def no_operator(installed: None) -> Iterator[None]:  # noqa: ARG001 -- it has to be there first
    """The operator in the cluster stands aside."""
    with product.without_operator():
        yield


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
