"""How far a run is can be seen while it runs: in its status, and in the columns of kubectl."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from tests.support import product
from tests.support.kube import Manifest, apply, get, kubectl, wait_for
from tests.support.scenarios import NAMESPACE, Scenario, logs, manifests

NAME = "progress"
SLOW_MODEL = "model.mini.stations"


def status() -> Manifest:
    found: Manifest = get("dbtrun", NAME, NAMESPACE).get("status", {})
    return found


def at_the_slow_model() -> Manifest | None:
    found = status()
    return found if SLOW_MODEL in found.get("progress", {}).get("running", []) else None


@pytest.fixture(scope="module")
def running(scenarios: None, images: Mapping[str, str]) -> Iterator[Manifest]:  # noqa: ARG001 -- it has to be there first
    """The status of a run whose slow model is being built for ten minutes; the run is cancelled in
    the end.
    """
    kubectl("delete", "dbtrun", NAME, "--ignore-not-found", "--wait", namespace=NAMESPACE)
    apply(*manifests(Scenario(NAME, "Cancelled", "Cancelled", overlay="slow"), images))
    try:
        yield wait_for("the slow model is shown as running", at_the_slow_model)
    finally:
        kubectl(
            "patch",
            "dbtrun",
            NAME,
            "--type=merge",
            "-p",
            '{"spec":{"cancel":true}}',
            namespace=NAMESPACE,
        )


def test_while_it_runs_some_nodes_are_done_and_the_rest_is_to_come(running: Manifest) -> None:
    progress = running["progress"]
    assert running["phase"] == "Running"
    assert 0 < progress["done"] < progress["total"]
    assert running["nodes"]["done"] == f"{progress['done']}/{progress['total']}"


def test_the_column_shows_it(running: Manifest) -> None:
    row = kubectl("get", "dbtrun", NAME, "--no-headers", namespace=NAMESPACE).split()
    assert row[3:5] == ["Running", running["nodes"]["done"]]


def test_the_log_of_the_sidecar_ends_in_it(running: Manifest) -> None:
    last = logs(NAME, "artifacts").strip().splitlines()[-1]
    assert last.startswith("dbt-operator: progress ")
    assert f'"done":{running["progress"]["done"]},' in last
    assert SLOW_MODEL in last


@pytest.mark.usefixtures("running")
def test_in_the_end_the_progress_is_gone_and_the_nodes_that_were_finished_stand() -> None:
    kubectl(
        "patch",
        "dbtrun",
        NAME,
        "--type=merge",
        "-p",
        '{"spec":{"cancel":true}}',
        namespace=NAMESPACE,
    )
    run = product.wait_until_finished(NAME, NAMESPACE)
    assert run["status"]["phase"] == "Cancelled"
    assert "progress" not in run["status"]
    assert run["status"]["nodes"]["success"] > 0
