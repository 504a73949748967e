"""The sidecar's process against a real MinIO server, on loopback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import minio
import pytest
import urllib3

from dbt_protocol.plans import Bucket, PreparePlan, UploadPlan
from dbt_protocol.summaries import UploadSummary
from dbt_runner.bucket import BucketError
from dbt_runner.layout import Layout
from dbt_runner.prepare import restore as restore_module
from dbt_runner.prepare.restore import MissingStateError
from tests.cluster import programs
from tests.support.free_ports import find_free_port
from tests.support.pods import HOME
from tests.support.sidecars import BUILD, finish_step, new_layout

KEYS = {"AWS_ACCESS_KEY_ID": "runner-test", "AWS_SECRET_ACCESS_KEY": "runner-test-secret"}


def client(endpoint: str) -> minio.Minio:
    user, password = KEYS.values()
    address = endpoint.removeprefix("http://")
    return minio.Minio(endpoint=address, access_key=user, secret_key=password, secure=False)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    address = f"127.0.0.1:{find_free_port()}"
    user, password = KEYS.values()
    argv = [
        str(programs.folder() / "minio"),
        "server",
        "--address",
        address,
        str(tmp_path_factory.mktemp("minio")),
    ]
    environment = {"HOME": "/nonexistent", "MINIO_ROOT_USER": user, "MINIO_ROOT_PASSWORD": password}
    with subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL) as server:
        http = urllib3.PoolManager(
            retries=urllib3.Retry(total=50, backoff_factor=0.1, backoff_max=0.5)
        )
        http.request("GET", f"http://{address}/minio/health/ready")
        client(f"http://{address}").make_bucket("dbt")
        yield f"http://{address}"
        http.clear()
        server.terminate()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return new_layout(tmp_path)


def upload(
    layout: Layout, endpoint: str, bucket: str = "dbt", run: str = "", state: str = "", **env: str
) -> tuple[int, UploadSummary]:
    """Run the sidecar, and tell it as the kubelet does that dbt has ended."""
    plan = UploadPlan(Bucket(endpoint, bucket), "runs/one", run=run, state=state)
    argv = [sys.executable, "-m", "dbt_runner", "artifacts", "--root", layout.root]
    environment = {"PYTHONPATH": HOME, "DBT_OPERATOR_PLAN": plan.to_json(), **KEYS, **env}
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "waiting" in process.stdout.readline()  # from here on it hears the signal
        process.terminate()
        process.communicate()
    return process.returncode, UploadSummary.from_json(
        (Path(layout.root) / "dev/termination-log").read_text()
    )


def test_a_real_store_keeps_the_objects(layout: Layout, endpoint: str) -> None:
    finish_step(layout, "1-build", **BUILD)
    (layout.artifacts / "1-build/catalog.json").write_bytes(b"x" * 12_000_000)  # in parts
    assert upload(layout, endpoint) == (0, UploadSummary("s3://dbt/runs/one", 5, 12_000_022))
    kept = client(endpoint).stat_object("dbt", "runs/one/1-build/catalog.json")
    assert (kept.size, kept.content_type) == (12_000_000, "application/json")


@pytest.mark.parametrize(
    ("bucket", "env", "words"),
    [
        ("missing", {}, "NoSuchBucket"),
        ("dbt", {"AWS_SECRET_ACCESS_KEY": "a-wrong-secret"}, "SignatureDoesNotMatch"),
    ],
)
def test_a_refusal_of_a_real_store_is_told(
    layout: Layout, endpoint: str, bucket: str, env: dict[str, str], words: str
) -> None:
    finish_step(layout, "1-build", **{"manifest.json": "{}"})
    code, summary = upload(layout, endpoint, bucket, **env)
    assert code == 1
    assert words in summary.error
    assert f"bucket {bucket}" in summary.error
    assert "secret" not in summary.error


def restore(layout: Layout, endpoint: str, **fields: Any) -> tuple[list[str], list[str]]:
    """Run the init container's part; what it has fetched of earlier attempts and of the state."""
    plan = PreparePlan("image", bucket=Bucket(endpoint, "dbt"), **fields)
    restore_module.restore(layout, plan, KEYS, print)
    previous, state = (
        sorted(path.name for path in folder.glob("*")) if folder.exists() else []
        for folder in (layout.previous, layout.state)
    )
    return previous, state


def test_what_a_run_has_left_is_restored(layout: Layout, endpoint: str) -> None:
    for folder, names in (
        (layout.run, ("result.json", "run_results.json")),
        (layout.new_state, ("manifest.json",)),
    ):
        folder.mkdir()
        for name in names:
            (folder / name).write_text("{}")
    assert upload(layout, endpoint, run="runs", state="states/1")[1].objects == 3
    found = restore(layout, endpoint, previous="runs", state="states/1", state_required=True)
    assert found == (["result.json", "run_results.json"], ["manifest.json"])


def test_earlier_results_that_are_not_there_are_no_error_and_a_state_is_only_if_it_may_be_missing(
    layout: Layout, endpoint: str
) -> None:
    assert restore(layout, endpoint, previous="nowhere", state="nowhere") == ([], [])
    with pytest.raises(MissingStateError, match="nowhere"):
        restore(layout, endpoint, state="nowhere", state_required=True)


def test_a_store_that_refuses_lets_everything_run_again_but_gives_no_state(
    layout: Layout, endpoint: str
) -> None:
    bucket = Bucket(endpoint, "missing")
    restore_module.restore(
        layout, PreparePlan("image", bucket=bucket, previous="runs"), KEYS, print
    )
    with pytest.raises(BucketError, match="NoSuchBucket"):
        restore_module.restore(
            layout, PreparePlan("image", bucket=bucket, state="states/1"), KEYS, print
        )
