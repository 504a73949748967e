"""What the sidecar makes of what dbt has left: of real artifacts, and of hostile ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dbt_protocol.digests import Digest, DigestExposure, DigestNode, mark
from dbt_protocol.plans import Window
from dbt_protocol.summaries import UploadSummary
from dbt_runner.upload import digesting
from dbt_runner.upload.digesting import keep_digest, make_digest, read_digest
from dbt_runner.volume import Volume
from tests.support.pods import Pod, step
from tests.support.sidecars import FakeStore, Sidecar

FILES = {
    "models/orders.sql": "select 1 as id union all select 1",
    "models/days.sql": "select id from {{ ref('orders') }}",
    "models/broken.sql": "select {{ var('broken', 'no_such_column') }} as id",
    "models/after.sql": "select * from {{ ref('broken') }}",
    "models/unowned.sql": "select 1 as id",
    "models/schema.yml": """
groups:
  - {name: finance, owner: {name: Finance Team, email: finance@example.com}}
models:
  - name: orders
    config: {meta: {owner: ana@example.com}}
    columns:
      - name: id
        data_tests:
          - unique: {config: {store_failures: true}}
          - accepted_values: {arguments: {values: [2], quote: false}, config: {severity: warn}}
  - {name: broken, config: {group: finance, meta: {owner: [Ben, Cleo]}}}
exposures:
  - {name: board, label: Weekly Board, type: dashboard, owner: {name: Dora}, depends_on: [ref('days')]}
  - {name: letter, type: application, owner: {email: e@example.com}, depends_on: [ref('after')]}
  - {name: other, type: notebook, owner: {name: Zoe}, depends_on: [ref('unowned')]}
""",
}
STALE = {
    "models/orders.sql": "select * from {{ source('raw', 'orders') }}",
    "models/schema.yml": """
sources:
  - name: raw
    schema: main
    config: {meta: {owner: Ingest}, loaded_at_field: at, freshness: {error_after: {count: 1, period: day}}}
    tables: [{name: orders}]
exposures:
  - {name: board, type: dashboard, owner: {name: Dora}, depends_on: [ref('orders')]}
""",
}
BROKEN, UNIQUE = "model.shop.broken", "test.shop.unique_orders_id."
VALUES = "test.shop.accepted_values_orders_id__False__2."


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path / "pod", FILES)


def digest_of(pod: Pod) -> Digest | None:
    return make_digest(pod.layout, Volume(pod.layout.shared))


def by_name(nodes: list[DigestNode]) -> dict[str, DigestNode]:
    """Without the digits at the end of tests' names."""
    return {node.unique_id.rstrip("0123456789abcdef"): node for node in nodes}


@pytest.mark.dbt
def test_what_failed_has_its_owners_and_what_depends_on_it(pod: Pod) -> None:
    ended = pod.run(step("build"))
    assert ended.code == 1, ended.log
    digest = digest_of(pod)
    assert digest is not None
    failed = by_name(digest.failed)
    assert set(failed) == {BROKEN, UNIQUE}
    broken, unique = failed[BROKEN], failed[UNIQUE]
    assert (broken.status, broken.group, broken.rows) == ("error", "finance", -1)
    assert broken.owners == ["Ben", "Cleo", "Finance Team"]
    assert "no_such_column" in broken.message
    assert (unique.status, unique.rows, unique.owners) == ("fail", 1, ["ana@example.com"])
    assert "dbt_test__audit" in unique.stored_in
    assert "unique_orders_id" in unique.stored_in
    (warned,) = digest.warned
    assert warned.unique_id.startswith(VALUES)
    assert (warned.rows, warned.owners) == (1, ["ana@example.com"])
    assert {"model.shop.after", "model.shop.days"} <= set(digest.skipped)
    assert digest.exposures == [
        DigestExposure("Weekly Board", "dashboard", "Dora"),
        DigestExposure("letter", "application", "e@example.com"),
    ]
    assert digest.missing == ""
    assert digest.marks == "".join(sorted(mark(node.unique_id) for node in digest.failed))
    assert (digest.run_uid, digest.attempt) == ("uid-1", 1)


@pytest.mark.dbt
def test_a_source_that_is_too_old_has_an_owner(tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", STALE)
    with duckdb.connect(str(pod.database)) as connection:
        connection.execute(
            "create table main.orders as select 1 as id, timestamp '2020-01-01' as at"
        )
    assert pod.run(step("sourceFreshness")).code == 1
    digest = digest_of(pod)
    assert digest is not None
    (stale,) = digest.failed
    assert (stale.unique_id, stale.owners) == ("source.shop.raw.orders", ["Ingest"])
    assert [each.name for each in digest.exposures] == ["board"]


@pytest.mark.one_dbt
def test_a_green_run_has_none(pod: Pod) -> None:
    assert pod.run(step("run", "--select", "orders", "days")).code == 0
    assert digest_of(pod) is None


@pytest.mark.one_dbt
def test_a_node_that_fails_in_several_windows_counts_once(pod: Pod) -> None:
    keys = ("2024-01-01", "2024-01-02")
    told = [Window(key, {"window.start": key}) for key in keys]
    pod.run(step("build"), windows=told, stop_on_failure=False)
    digest = digest_of(pod)
    assert digest is not None
    assert digest.failed_total == 2
    assert by_name(digest.failed)[BROKEN].owners == ["Ben", "Cleo", "Finance Team"]


@pytest.mark.one_dbt
def test_the_sidecar_keeps_it_and_tells_it_as_often_as_it_is_asked(pod: Pod) -> None:
    pod.run(step("build"))
    store = FakeStore()
    assert Sidecar(pod.layout, lambda: store).end().digest
    expected = digest_of(pod)
    assert expected is not None
    assert Digest.from_json(store.objects["runs/one/digest.json"].decode()) == expected.cut()
    for _ in range(2):
        lines = read_digest(pod.layout, Volume(pod.layout.shared))
        assert Digest.from_lines(lines) == expected.cut()


# What a project's code may have left


def leave(pod: Pod, result: Any, manifest: str = "{}") -> Volume:
    pod.layout.run.mkdir(parents=True, exist_ok=True)
    text = result if isinstance(result, str) else json.dumps(result)
    (pod.layout.run / "result.json").write_text(text)
    folder = pod.layout.artifacts / "build"
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text(manifest)
    return Volume(pod.layout.shared)


def failing(*names: str) -> dict[str, Any]:
    """A result in which these have failed."""
    row = {"name": "build", "command": "build", "state": "Failed", "nodes": {}, "results": []}
    failures = [{"unique_id": name, "status": "error", "message": "no"} for name in names]
    return {
        "run": "nightly",
        "run_uid": "uid-1",
        "attempt": 1,
        "source": None,
        "steps": [{**row, "failures": failures}],
    }


@pytest.mark.parametrize(
    "result",
    ["", "[]", "{}", "{" * 5000, json.dumps({"steps": 1}), '"' + "x" * (9 << 20) + '"'],
)
def test_without_a_result_there_is_none(pod: Pod, result: str) -> None:
    volume = leave(pod, result)
    assert not keep_digest(pod.layout, volume)
    assert read_digest(pod.layout, volume) == []


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "[]",
        '{"nodes": {"a": 1}}',
        '{"nodes": {"a": {"depends_on": 1}}}',
        '{"nodes": {"a": {"config": [1]}}}',
        '{"groups": {"a": []}}',
        '{"nodes": {"a": {"depends_on": {"nodes": [',
    ],
)
def test_a_manifest_that_is_none_leaves_what_the_results_say(pod: Pod, manifest: str) -> None:
    volume = leave(pod, failing("model.a"), manifest)
    assert keep_digest(pod.layout, volume)
    found = Digest.from_lines(read_digest(pod.layout, volume))
    assert [node.unique_id for node in found.failed] == ["model.a"]
    assert found.missing.startswith("the manifest cannot be read")


def test_a_manifest_of_odd_shapes_tells_what_it_can(pod: Pod) -> None:
    nodes = {
        "model.a": {"depends_on": {"nodes": ["model.a", 1, "model.b"]}, "meta": {"owner": 5}},
        "model.b": {
            "depends_on": None,
            "config": {"meta": {"owners": [{"email": ["x@example.com"]}, [], "Ana", "@here"]}},
            "group": {"name": "no"},
        },
        "test.t": {"resource_type": "test", "depends_on": {"nodes": ["model.a", "model.b"]}},
    }
    exposures = {"exposure.e": {"label": 1, "name": "e", "depends_on": {"nodes": ["model.a"]}}}
    manifest = json.dumps({"nodes": nodes, "exposures": exposures})
    digest = make_digest(pod.layout, leave(pod, failing("model.b", "test.t", "gone"), manifest))
    assert digest is not None
    owners = ["x@example.com", "Ana", "@here"]
    assert [node.owners for node in digest.failed] == [owners, owners, []]
    assert digest.exposures == [DigestExposure("e")]


def test_links_out_of_the_volume_are_not_followed(pod: Pod, tmp_path: Path) -> None:
    volume = leave(pod, failing("model.a"))
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps({"nodes": {"model.a": {"meta": {"owner": "a secret"}}}}))
    manifest = pod.layout.artifacts / "build" / "manifest.json"
    manifest.unlink()
    manifest.symlink_to(secret)
    digest = make_digest(pod.layout, volume)
    assert digest is not None
    assert digest.failed[0].owners == []
    result = pod.layout.run / "result.json"
    result.rename(tmp_path / "result.json")
    result.symlink_to(tmp_path / "result.json")
    assert make_digest(pod.layout, volume) is None


def test_many_failures_in_a_deep_graph_take_no_recursion(pod: Pod) -> None:
    names = [f"model.m{number}" for number in range(5000)]
    nodes = {
        name: {"depends_on": {"nodes": [before]}}
        for name, before in zip(names, ["", *names], strict=False)
    }
    exposures = {"exposure.e": {"name": "e", "depends_on": {"nodes": names[-1:]}}}
    manifest = json.dumps({"nodes": nodes, "exposures": exposures})
    volume = leave(pod, failing(*names), manifest)
    assert keep_digest(pod.layout, volume)
    found = Digest.from_lines(read_digest(pod.layout, volume))
    assert (found.failed_total, found.exposures_total) == (5000, 1)


def test_no_error_of_it_stops_the_upload(
    pod: Pod, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("too much")

    monkeypatch.setattr(digesting, "make_digest", fail)
    leave(pod, failing("model.a"))
    store = FakeStore()
    summary = Sidecar(pod.layout, lambda: store).end()
    assert (summary.digest, summary.error) == (False, "")
    assert "runs/result.json" in store.objects
    assert "there is no digest: MemoryError('too much')" in capsys.readouterr().out


def test_summaries_of_older_runners_have_none() -> None:
    text = json.dumps({"location": "s3://b/p", "protocol": 1})
    assert not UploadSummary.from_json(text).digest
    assert UploadSummary.from_json(replace(UploadSummary("s3://b/p"), digest=True).to_json()).digest
