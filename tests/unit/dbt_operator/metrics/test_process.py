"""The metrics of an operator as a process, put together as in a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support.fake_api_server import FakeAPIServer
from tests.support.free_ports import find_free_port
from tests.support.kube import PATIENCE
from tests.support.waiting import eventually

Samples = dict[str, float]


@contextmanager
def operator(server: FakeAPIServer, folder: Path, port: int) -> Iterator[None]:
    environment = os.environ | {
        "KUBECONFIG": str(server.kubeconfig(folder, "x")),
        "DBT_OPERATOR_RUNNER_IMAGE": "runner:1",
        "DBT_OPERATOR_NAMESPACES": "a",
        "DBT_OPERATOR_HEALTH_PORT": str(port),
    }
    process = subprocess.Popen([sys.executable, "-m", "dbt_operator"], env=environment)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def scrape(port: int) -> Samples:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
            page = answer.read().decode()
    except OSError:
        return {}
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_what_happens_in_a_process_is_counted(tmp_path: Path) -> None:
    port = find_free_port()
    with FakeAPIServer().running() as server, operator(server, tmp_path, port):
        server.put("dbtruns", "a", "x")
        eventually(lambda: is_counted(scrape(port)))
        found = scrape(port)
    assert found["dbt_operator_leader[]"] == 1
    assert 0 <= found["dbt_operator_watch_age_seconds['a', 'dbtruns']"] < PATIENCE


def is_counted(found: Samples) -> bool:
    """Whether there are the reconciliation of a run, and the request that it made."""
    is_reconciled = found.get("dbt_operator_reconcile_duration_seconds_count['DbtRun']", 0) > 0
    return is_reconciled and found.get("dbt_operator_api_requests_total['200', 'PATCH']", 0) > 0
