"""Each way for a run to end, on a real node with a real warehouse and a real bucket."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.support import product
from tests.support.kube import Manifest, apply, get, items, kubectl, resource, wait_for
from tests.support.recorded import EXPECTED, look, views
from tests.support.scenarios import (
    BUCKET_SECRET,
    NAMESPACE,
    PASSWORD,
    SCENARIOS,
    START_TIMEOUTS,
    Scenario,
    location,
    logs,
    manifests,
    restart,
)

pytestmark = pytest.mark.usefixtures("scenarios")
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
CONTAINERS = ("prepare", "artifacts", "dbt")


def queries(schema: str) -> int:
    """How many slow queries of a schema's run the warehouse is working on."""
    like = f"query LIKE '%pg_sleep(600)%' AND query LIKE '%{schema}%' AND pid <> pg_backend_pid()"
    return int(product.psql(f"SELECT count(*) FROM pg_stat_activity WHERE {like}", "-At"))  # noqa: S608 -- our own words


def wish(cancel: str) -> None:
    patch = f'{{"spec":{{"cancel":{cancel}}}}}'
    kubectl("patch", "dbtrun", "cancelled", "--type=merge", "-p", patch, namespace=NAMESPACE)


def latched() -> str | None:
    found: str | None = get("dbtrun", "cancelled", NAMESPACE)["status"].get("cancelRequestedAt")
    return found


@pytest.fixture(scope="module", autouse=True)
def _cancelled(scenarios: None) -> None:  # noqa: ARG001 -- it has to be there first
    """Cancel one of them while the warehouse works on its query, and take the wish back, which must
    change nothing.
    """
    wait_for("the slow query runs", lambda: queries("analytics_cancelled"))
    wish("true")
    wait_for("the wish is latched", latched)
    wish("false")


def test_a_cancelled_query_is_gone_from_the_warehouse_before_its_time() -> None:
    """Of ten minutes. On an idle node it takes a second; here two dozen other runs want the
    processor.
    """
    wait_for("the query is gone", lambda: queries("analytics_cancelled") == 0)


def wait_until_told(scenario: Scenario, images: Mapping[str, str]) -> Manifest:
    """The run once it has ended. One that has ended before anybody had said why its pod does not
    start gets more time.
    """
    run = product.wait_until_finished(scenario.name, NAMESPACE)
    for timeout in START_TIMEOUTS[1:]:
        if "no event says why" not in run["status"]["message"]:
            break
        more = {"startTimeout": timeout}
        restart(replace(scenario, run=scenario.run | more), images)
        run = product.wait_until_finished(scenario.name, NAMESPACE)
    return run


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_it_ends_as_it_must(scenario: Scenario, images: Mapping[str, str]) -> None:
    run = wait_until_told(scenario, images)
    status = run["status"]
    assert (status["phase"], status.get("reason")) == (scenario.phase, scenario.reason), status[
        "message"
    ]
    assert scenario.message in status["message"]
    assert product.condition(run, "Succeeded") == (
        "True" if scenario.phase == "Succeeded" else "False"
    )
    assert any(
        failure["uniqueId"].startswith(scenario.failed)
        for failure in status.get("failures", [{"uniqueId": ""}])
    )


@pytest.mark.parametrize(("name", "state"), [("green", "succeeded"), ("failing-model", "failed")])
def test_argo_cd_and_flux_see_how_it_ended(name: str, state: str) -> None:
    look(product.wait_until_finished(name, NAMESPACE), state)


def test_argo_cd_and_flux_see_that_it_was_cancelled() -> None:
    run = product.wait_until_finished("cancelled", NAMESPACE)
    assert views(run) == EXPECTED["DbtRun"]["cancelled"]


@pytest.mark.parametrize("name", [s.name for s in SCENARIOS if s.failed])
def test_the_last_line_of_the_log_names_every_failed_node(name: str) -> None:
    run = product.wait_until_finished(name, NAMESPACE)
    last = logs(name, "dbt").strip().splitlines()[-1]
    for failure in run["status"]["failures"]:
        if failure["status"] != "skipped":
            assert failure["uniqueId"] in last


@pytest.mark.parametrize(
    ("name", "attempts"),
    [
        ("flaky", 2),
        ("flaky-hook", 2),
        ("hopeless", 2),
        ("warning-as-error", 2),
        ("not-transient", 1),
        ("failing-test", 1),
    ],
)
def test_attempts_follow_one_another_and_each_leaves_its_artifacts(
    name: str, attempts: int
) -> None:
    run = product.wait_until_finished(name, NAMESPACE)
    each = run["status"]["attempts"]
    assert [attempt["number"] for attempt in each] == list(range(1, attempts + 1))
    for before, after in pairwise(each):
        assert before["finishedAt"] <= after["createdAt"]
    found = {path.split("/")[0] for path in product.objects(location(run))}
    assert found == {
        "contents.json",
        "result.json",
        "run_results.json",
        *(f"attempt-{number}" for number in range(1, attempts + 1)),
    }


def test_a_later_attempt_runs_what_is_not_done_and_the_results_are_merged() -> None:
    run = product.wait_until_finished("flaky", NAMESPACE)
    found = product.objects(location(run))

    def built(path: str) -> list[str]:
        rows = json.loads(found[path])["results"]
        return sorted(row["unique_id"] for row in rows if row["unique_id"].startswith("model."))

    assert built("attempt-2/1-build/run_results.json") == [
        "model.mini.stations",
        "model.mini.summary",
    ]
    assert built("run_results.json") == [
        "model.mini.measurements",
        "model.mini.stations",
        "model.mini.summary",
    ]
    assert run["status"]["nodes"]["success"] == 3


def test_after_a_failed_hook_everything_runs_again() -> None:
    run = product.wait_until_finished("flaky-hook", NAMESPACE)
    rows = json.loads(product.objects(location(run))["attempt-2/1-build/run_results.json"])[
        "results"
    ]
    assert {"model.mini.measurements", "model.mini.stations"} < {row["unique_id"] for row in rows}


def test_what_is_skipped_is_no_failure() -> None:
    run = product.wait_until_finished("stale", NAMESPACE)
    states = {
        kind: product.condition(run, kind) for kind in ("Ready", "Stalled", "Finished", "Succeeded")
    }
    assert states == {"Ready": "True", "Stalled": "False", "Finished": "True", "Succeeded": "False"}


def test_a_run_goes_when_its_time_has_come() -> None:
    references = {"projectRef": {"name": "absent"}, "targetRef": {"name": "absent"}}
    spec = {**references, "steps": [{"build": {}}], "startTimeout": "1s", "ttlAfterFinished": "2s"}
    apply(resource("DbtRun", "short-lived", NAMESPACE, spec))
    find = ("get", "dbtrun", "short-lived", "--ignore-not-found", "-o", "name")
    wait_for("the run is deleted", lambda: not kubectl(*find, namespace=NAMESPACE))


def test_a_warning_passes_and_is_counted() -> None:
    run = product.wait_until_finished("warning-test", NAMESPACE)
    assert run["status"]["nodes"]["warn"] > 0
    assert product.condition(run, "TestsPassed") == "True"


def test_a_failed_test_is_a_condition() -> None:
    run = product.wait_until_finished("failing-test", NAMESPACE)
    assert product.condition(run, "TestsPassed") == "False"


@pytest.mark.parametrize("name", ["green", "failing-model", "failing-test", "out-of-memory"])
def test_artifacts_are_in_the_bucket(name: str) -> None:
    run = product.wait_until_finished(name, NAMESPACE)
    assert product.condition(run, "ArtifactsUploaded") == "True"
    found = product.objects(location(run))
    wanted = (
        {"manifest.json", "dbt.log"}
        if name == "out-of-memory"
        else {"manifest.json", "run_results.json", "dbt.log"}
    )
    assert wanted <= {path.rpartition("/")[2] for path in found}
    for path, data in found.items():
        if path.endswith(".json"):
            json.loads(data)


def test_what_was_finished_before_an_oom_kill_is_in_the_log_in_the_bucket() -> None:
    run = product.wait_until_finished("out-of-memory", NAMESPACE)
    text = b"".join(
        data for path, data in product.objects(location(run)).items() if path.endswith("dbt.log")
    )
    assert b"OK created" in text


@pytest.mark.parametrize("name", ["wrong-schema", "wrong-target", "wrong-database", "parse-error"])
def test_nothing_was_written_before_the_environment_was_validated(name: str) -> None:
    product.wait_until_finished(name, NAMESPACE)
    assert "OK created" not in logs(name, "dbt")


def test_a_schema_that_does_not_match_was_never_created() -> None:
    product.wait_until_finished("wrong-schema", NAMESPACE)
    assert "forbidden" not in product.psql("\\dn", "--tuples-only")


def test_what_was_finished_before_the_cancellation_is_in_the_bucket() -> None:
    run = product.wait_until_finished("cancelled", NAMESPACE)
    found = product.objects(location(run))
    results = json.loads(found["attempt-1/1-build/run_results.json"])["results"]
    assert [result["status"] for result in results].count("success") > 0
    assert run["status"]["nodes"]["success"] > 0


@pytest.mark.parametrize("name", ["missing-secret", "missing-image", "unschedulable"])
def test_what_cannot_start_leaves_no_pod_behind(name: str) -> None:
    product.wait_until_finished(name, NAMESPACE)
    assert items("pods", NAMESPACE, f"--selector=dbt-operator.dev/run={name}") == []


def test_a_bucket_that_is_not_there_is_said_and_changes_no_verdict() -> None:
    run = product.wait_until_finished("no-bucket", NAMESPACE)
    (found,) = (c for c in run["status"]["conditions"] if c["type"] == "ArtifactsUploaded")
    assert found["status"] == "False"
    assert "no-such-bucket" in found["message"]


def test_a_run_tells_its_story_in_events(images: Mapping[str, str]) -> None:
    """One of its own, as an operator that is killed takes the event of its last write with it:
    other tests do that.
    """
    run = manifests(BY_NAME["failing-model"], images)[-1]
    run["metadata"]["name"] = "story"
    kubectl("delete", "dbtrun", "story", "--ignore-not-found", "--wait", namespace=NAMESPACE)
    apply(run)
    uid = product.wait_until_finished("story", NAMESPACE)["metadata"]["uid"]

    def told() -> bool:
        events = items("events", NAMESPACE, f"--field-selector=involvedObject.uid={uid}")
        return {event["reason"] for event in events} >= {"Running", "ModelError"}

    wait_for("both events are there", told)


def test_the_columns_show_the_reason() -> None:
    product.wait_until_finished("failing-model", NAMESPACE)
    row = kubectl("get", "dbtrun", "failing-model", "--no-headers", namespace=NAMESPACE).split()
    assert row[3:5] == ["Failed", "ModelError"]


def test_no_password_in_any_log_event_status_or_artifact() -> None:
    """The profile's password, and the bucket's, as they are and in base64."""
    texts: dict[str, bytes] = {}
    for scenario in SCENARIOS:
        run = product.wait_until_finished(scenario.name, NAMESPACE)
        for container in CONTAINERS:
            texts[f"log of {scenario.name}/{container}"] = logs(scenario.name, container).encode()
        if "resolved" in run["status"]:
            texts |= {
                f"artifact {path}": data for path, data in product.objects(location(run)).items()
            }
    for kind in ("dbtruns", "dbtprojects", "dbttargets", "jobs", "pods", "events", "configmaps"):
        texts[kind] = kubectl("get", kind, "-o", "json", namespace=NAMESPACE).encode()
    operator = kubectl(
        "logs", "deployment/dbt-operator", "--tail=-1", namespace=product.OPERATOR_NAMESPACE
    )
    texts["log of the operator"] = operator.encode()
    assert b"the password is *****" in texts["log of leaky/dbt"], "nobody tried"
    for password in (PASSWORD, BUCKET_SECRET):
        for needle in (password.encode(), base64.b64encode(password.encode())):
            assert [where for where, text in texts.items() if needle in text] == []
