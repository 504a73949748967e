"""A third warehouse: Spark's Thrift server, through dbt-spark. In `make test-full`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.support import product, spark
from tests.support.backfills import finished, runs
from tests.support.kube import Manifest, apply, get, items, kubectl, resource, wait_for
from tests.support.scenarios import NAMESPACE, Scenario, location, logs, manifests, schema_of

AGAIN = {"retry": {"maxAttempts": 3, "backoff": {"initial": "1s"}}}
# Until the server is there again, which may take minutes.
LONG = {"retry": {"maxAttempts": 10, "backoff": {"initial": "30s", "max": "1m"}}}


def profile(key: str) -> Manifest:
    return {"profiles": {"secretRef": {"name": spark.NAME, "key": key}}}


def make(
    name: str, phase: str, reason: str | None = None, *, key: str = "profiles.yml", **other: Any
) -> Scenario:
    target = {**profile(key), **other.pop("target", {})}
    return Scenario(f"spark-{name}", phase, reason, image="dbt-spark", target=target, **other)


GREEN = make("green", "Succeeded")
SLOW = make("cancelled", "Cancelled", "Cancelled", overlay="spark-slow")
RESTARTED = make("restarted", "Succeeded", overlay="spark-flaky", run=LONG)
ENDINGS = make("endings", "Failed", "ModelError", overlay="spark-endings", run=AGAIN)
REFUSED = make("refused", "Failed", "ConfigError", key="refused.yml", run=AGAIN)
AWAY = make("away", "Failed", "Unavailable", key="away.yml", run=AGAIN)
WRONG_SCHEMA = make(
    "wrong-schema", "Failed", "EnvironmentMismatch", overlay="wrong-schema", message="forbidden"
)
EVERY = (
    SLOW,
    RESTARTED,
    GREEN,
    make("failing-model", "Failed", "ModelError", overlay="failing-model", failed="model.mini."),
    make("failing-test", "Failed", "TestFailed", overlay="failing-test", failed="test.mini."),
    ENDINGS,
    REFUSED,
    AWAY,
    WRONG_SCHEMA,
    # A pattern for databases forbids nothing where there are none.
    make("database", "Succeeded", target={"databasePattern": "^prod$"}),
)
BACKFILL = "spark-windows"
ATTEMPTS = [(ENDINGS, 1), (REFUSED, 1), (AWAY, 3)]


@pytest.fixture(scope="module", autouse=True)
def _started(warehouse: None, images: Mapping[str, str]) -> Iterator[None]:  # noqa: ARG001 -- it has to be there first
    """All of them side by side; the server is restarted once while a statement of one is at work,
    and another has been cancelled.
    """
    spark.install(images)
    names = [scenario.name for scenario in EVERY]
    kubectl("delete", "dbtruns", *names, "--ignore-not-found", "--wait", namespace=NAMESPACE)
    kubectl("delete", "dbtbackfill", BACKFILL, "--ignore-not-found", "--wait", namespace=NAMESPACE)
    apply(*(manifest for scenario in EVERY for manifest in manifests(scenario, images)))
    wait_for("the slow statement is at work", lambda: spark.find_jobs(SLOW.name))
    patch = '{"spec":{"cancel":true}}'
    kubectl("patch", "dbtrun", SLOW.name, "--type=merge", "-p", patch, namespace=NAMESPACE)
    wait_for("the slow statement is gone", lambda: not spark.find_jobs(SLOW.name))
    for scenario in EVERY:
        if scenario is not RESTARTED:
            product.wait_until_finished(scenario.name, NAMESPACE)
    wait_for("the other is at work", lambda: spark.find_jobs(RESTARTED.name))
    spark.restart()
    yield
    kubectl("delete", "namespace", spark.NAMESPACE, "--wait")


@pytest.mark.parametrize("scenario", EVERY, ids=lambda scenario: scenario.name)
def test_it_ends_as_it_must(scenario: Scenario) -> None:
    status = product.wait_until_finished(scenario.name, NAMESPACE)["status"]
    found = (status["phase"], status.get("reason"))
    assert found == (scenario.phase, scenario.reason), status["message"]
    assert scenario.message in status["message"]
    failures = [failure["uniqueId"] for failure in status.get("failures", ())]
    assert not scenario.failed or any(failure.startswith(scenario.failed) for failure in failures)


def test_its_results_are_counted_and_kept() -> None:
    run = product.wait_until_finished(GREEN.name, NAMESPACE)
    nodes = {name: number for name, number in run["status"]["nodes"].items() if number}
    assert nodes == {"total": 5, "success": 3, "pass": 2, "done": "5/5"}
    kept = {path.rpartition("/")[2] for path in product.object_names(location(run))}
    assert {"manifest.json", "run_results.json", "dbt.log"} <= kept


@pytest.mark.parametrize(
    ("scenario", "attempts"), ATTEMPTS, ids=[scenario.name for scenario, _ in ATTEMPTS]
)
def test_only_what_may_be_over_is_tried_again(scenario: Scenario, attempts: int) -> None:
    run = product.wait_until_finished(scenario.name, NAMESPACE)
    assert len(run["status"]["attempts"]) == attempts, run["status"]["message"]


def test_the_servers_classes_are_in_the_results_and_its_words_in_the_status() -> None:
    run = product.wait_until_finished(ENDINGS.name, NAMESPACE)
    result = json.loads(product.objects(location(run))["result.json"])
    nodes = {
        node["unique_id"]: node["codes"] for step in result["steps"] for node in step["results"]
    }
    assert {name: code for name, code in nodes.items() if code} == {
        "model.mini.absent": "TABLE_OR_VIEW_NOT_FOUND",
        "model.mini.broken": "PARSE_SYNTAX_ERROR",
        "model.mini.raised": "SparkException",
    }
    told = {each["uniqueId"]: each["message"] for each in run["status"]["failures"]}
    assert "Syntax error at or near 'selec'" in told["model.mini.broken"]
    assert "[PERMISSION_DENIED] SQLSTATE: 40001" in told["model.mini.raised"]


def test_nothing_is_written_before_the_schemas_are_validated() -> None:
    product.wait_until_finished(WRONG_SCHEMA.name, NAMESPACE)
    assert "OK created" not in logs(WRONG_SCHEMA.name, "dbt")


def test_after_the_server_was_restarted_only_what_is_not_done_runs() -> None:
    run = product.wait_until_finished(RESTARTED.name, NAMESPACE)
    attempts = run["status"]["attempts"]
    assert {attempt["reason"] for attempt in attempts[:-1]} == {"Unavailable"}
    found = product.objects(location(run))

    def built(path: str) -> list[str]:
        rows = json.loads(found[path])["results"]
        return sorted(row["unique_id"] for row in rows if row["unique_id"].startswith("model."))

    last = f"attempt-{attempts[-1]['number']}/1-build/run_results.json"
    assert built(last) == ["model.mini.stations", "model.mini.summary"]
    assert run["status"]["nodes"]["success"] == 3


def test_windows_share_a_pod(images: Mapping[str, str]) -> None:
    """The adapter starts no thread before it connects, so that dbt is imported and parses once."""
    spec = {
        "projectRef": {"name": GREEN.name},
        "targetRef": {"name": GREEN.name},
        "steps": [{"build": {}}],
        "env": [{"name": "SCHEMA", "value": schema_of(BACKFILL)}],
        "vars": {"ds": "$(window.key)"},
    }
    windows = {"keys": ["a", "b", "c"]}
    apply(
        *manifests(GREEN, images)[:-1],
        resource(
            "DbtBackfill",
            BACKFILL,
            NAMESPACE,
            {"runTemplate": {"spec": spec}, "windows": windows},
        ),
    )
    status = finished(BACKFILL, NAMESPACE)
    assert status["phase"] == "Succeeded", get("dbtbackfill", BACKFILL, NAMESPACE)
    (run,) = runs(BACKFILL, NAMESPACE)
    name = run["metadata"]["name"]
    assert len(items("pods", NAMESPACE, f"--selector=dbt-operator.dev/run={name}")) == 1
