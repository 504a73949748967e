"""dbt 2 on a real PostgreSQL, by the whole runner: what it says is believed where it is proved."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dbt_protocol.plans import Step, Window
from dbt_runner.upload.digesting import make_digest
from dbt_runner.volume import Volume
from tests.support.dbt_2 import FIRST, IN_IMAGE, Release, make_pod
from tests.support.dbt_projects import CANARY
from tests.support.kube import wait_for
from tests.support.pods import PROJECT, Ended, Pod, children, step
from tests.support.postgres import Postgres, postgres

pytestmark = pytest.mark.one_dbt

RELEASES = pytest.mark.parametrize(
    "release", [IN_IMAGE, FIRST], ids=lambda release: release.name, scope="module"
)
SHOP = {
    "dbt_project.yml": PROJECT + 'on-run-start: select 1\non-run-end: "{{ hook() }}"\n',
    "macros/hook.sql": """
{% macro hook() %}{% if var('hook', '') %}select * from no_such_table{% else %}select 2{% endif %}{% endmacro %}
{% macro leak() %}{% do log('the token is ' ~ env_var('WAREHOUSE_TOKEN'), info=True) %}{% endmacro %}
""",
    "seeds/raw.csv": "id\n1\n2\n",
    "models/orders.sql": "select * from {{ ref('raw') }}",
    "models/inlined.sql": "{{ config(materialized='ephemeral') }} select 1 as id",
    "models/totals.sql": "{{ config(materialized='table') }} select count(*) as n from {{ ref('orders') }}",
    "models/elsewhere.sql": "{{ config(schema='elsewhere') }} select 1 as id",
    "models/broken.sql": "select no_such_column from {{ ref('raw') }}",
    "models/after.sql": "select * from {{ ref('broken') }}",
    "models/slow.sql": "{{ config(materialized='table') }} select pg_sleep(6000)::text as s from {{ ref('orders') }}",
    "models/schema.yml": """
groups:
  - {name: finance, owner: {name: Finance Team}}
exposures:
  - {name: board, type: dashboard, owner: {name: Dora}, depends_on: [ref('after')]}
models:
  - {name: broken, config: {group: finance, meta: {owner: Ana}}}
  - name: orders
    columns:
      - name: id
        data_tests:
          - unique
          - accepted_values: {arguments: {values: [7], quote: false}, config: {severity: warn}}
  - name: totals
    columns: [{name: n, data_tests: [{accepted_values: {arguments: {values: [7], quote: false}}}]}]
unit_tests:
  - name: counts
    model: totals
    given: [{input: ref('orders'), rows: [{id: 1}]}]
    expect: {rows: [{n: 1}]}
""",
    "snapshots/history.yml": """
snapshots:
  - {name: history, relation: ref('orders'), config: {unique_key: id, strategy: check, check_cols: all}}
""",
}
GOOD = ("raw", "orders", "history", "inlined")
SLEEPS = "select count(*) from pg_stat_activity where state = 'active' and query like '%pg_sleep(6000)%' and pid <> pg_backend_pid()"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as found:
        yield found


@pytest.fixture
def pod(tmp_path: Path, server: Postgres) -> Pod:
    return make_pod(tmp_path, SHOP, server.make_profile())


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, server: Postgres, release: Release) -> Ended:
    """One run with many steps, each of which may fail."""
    pod = make_pod(tmp_path_factory.mktemp("ended"), SHOP, server.make_profile(), release)
    pod.env["WAREHOUSE_TOKEN"] = CANARY
    may_fail: dict[str, Any] = {"allow_failure": True}
    hook = ("--vars", '{"hook": "x"}')
    return pod.run(
        step("seed"),
        step("build", "--select", *GOOD, "--threads", "2"),
        step("runOperation", "leak"),
        step("compile", "--select", "totals"),
        step("build", "--select", "broken+", name="model", **may_fail),
        step("build", "--select", "totals", "--exclude", "counts", name="test", **may_fail),
        step("test", "--select", "counts", name="unit", **may_fail),
        step("run", "--select", "orders", *hook, name="hook", **may_fail),
        step("build", "--select", "tag:nothing", name="empty", **may_fail),
        step("build", "--select", "tag:nothing", "--warn-error", name="warned", **may_fail),
        step("runOperation", "no_such_macro", name="operation", **may_fail),
        step("list", "--select", "orders"),
        step("list", "--select", "tag:nothing", name="listed", **may_fail),
        schema_pattern="analytics|analytics_elsewhere",
    )


@RELEASES
def test_what_failed_has_its_owners_and_what_depends_on_it(ended: Ended) -> None:
    digest = make_digest(ended.layout, Volume(ended.layout.shared))
    assert digest is not None
    assert digest.missing == ""
    failed = {node.unique_id: node for node in digest.failed}
    broken = failed["model.shop.broken"]
    assert (broken.owners, broken.group) == (["Ana", "Finance Team"], "finance")
    assert any(node.rows == 1 for name, node in failed.items() if name.startswith("test."))
    assert [each.name for each in digest.exposures] == ["board"]


@RELEASES
def test_its_steps_succeed_and_are_counted(ended: Ended, release: Release) -> None:
    assert (ended.code, ended.summary.reason) == (0, ""), ended.log
    assert (ended.summary.engine, ended.summary.dbt_version) == ("Program", release.version)
    built = ended.step("build")["nodes"]
    assert (built["total"], built["success"], built["passed"], built["warn"]) == (5, 3, 1, 1)
    for name in ("seed", "runOperation", "compile", "list"):
        assert ended.step(name)["state"] == "Succeeded"
    assert ended.artifact("build/manifest.json")["metadata"]["env"]["RUN_UID"] == "uid-1"
    assert "the token is *****" in ended.log
    assert CANARY not in ended.log


@RELEASES
@pytest.mark.parametrize(
    ("name", "reason", "named"),
    [
        ("model", "ModelError", "no_such_column"),
        ("test", "TestFailed", "test.shop.accepted_values_totals_n"),
        ("unit", "ModelError", "not yet implemented"),
        ("hook", "HookFailed", "no_such_table"),
        ("empty", "NothingSelected", "--select tag:nothing"),
        ("warned", "NothingSelected", "--select tag:nothing"),
        ("listed", "NothingSelected", "--select tag:nothing"),
        ("operation", "ModelError", "no_such_macro"),
    ],
)
def test_a_failure_has_its_reason_and_names_its_cause(
    ended: Ended, name: str, reason: str, named: str
) -> None:
    found = ended.step(name)
    assert (found["reason"], found["state"]) == (reason, "Failed"), found["message"]
    assert named in found["message"]


@RELEASES
def test_what_was_built_before_a_hook_failed_is_no_failure(ended: Ended) -> None:
    """dbt 2 calls it one."""
    failed = [each["unique_id"] for each in ended.step("hook")["failures"]]
    assert failed == ["operation.shop.shop-on-run-end-0"]


@RELEASES
@pytest.mark.parametrize(
    ("steps", "reason", "words"),
    [
        ([step("seed"), step("docs", allow_failure=True)], "ConfigError", "not do docs generate"),
        (
            [step("seed"), step("build", "--select", "state:modified+")],
            "ConfigError",
            "a selector by state needs spec.state",
        ),
        (
            [step("seed"), step("build", "--select", "state:new", "--state", "/no/such")],
            "MissingState",
            "/no/such",
        ),
        ([step("seed"), step("build")], "EnvironmentMismatch", "model.shop.elsewhere"),
        ([step("build", "--no-such-flag")], "ConfigError", "--no-such-flag"),
    ],
    ids=["docs", "no state", "lost state", "elsewhere", "flag"],
)
def test_what_it_would_not_do_is_refused_before_the_first_statement(
    tmp_path: Path, server: Postgres, steps: list[Step], reason: str, words: str, release: Release
) -> None:
    pod = make_pod(tmp_path, SHOP, server.make_profile(schema="refused"), release)
    assert words in refuse(pod, server, steps, reason)


def test_a_release_that_knows_no_source_freshness_is_not_asked_for_it(
    tmp_path: Path, server: Postgres
) -> None:
    pod = make_pod(tmp_path, SHOP, server.make_profile(schema="refused"), FIRST)
    steps = [step("seed"), step("sourceFreshness")]
    assert "does not do source freshness" in refuse(pod, server, steps, "ConfigError")


SELECTORS = """
selectors:
  - name: usual
    default: true
    definition: {method: fqn, value: orders}
  - name: changed
    definition: {method: state, value: modified}
"""


def test_a_selector_by_state_stands_in_the_way_of_no_other(
    tmp_path: Path, server: Postgres
) -> None:
    files, profiles = SHOP | {"selectors.yml": SELECTORS}, server.make_profile(schema="selectors")
    ended = make_pod(tmp_path / "usual", files, profiles).run(
        step("seed", "--select", "raw"), step("run"), step("run", "--selector", "usual", name="by")
    )
    assert (ended.code, ended.summary.reason) == (0, ""), ended.log
    assert [ended.step(name)["nodes"]["total"] for name in ("run", "by")] == [1, 1]
    ended = make_pod(tmp_path / "changed", files, profiles).run(
        step("run", "--selector", "changed")
    )
    assert (ended.summary.reason, ended.summary.nodes.total) == ("ConfigError", 0)
    assert "needs spec.state" in ended.summary.message


def refuse(pod: Pod, server: Postgres, steps: list[Step], reason: str) -> str:
    """Run steps that are refused before anything is sent to the warehouse, and say why they are."""
    server.execute("drop schema if exists refused cascade")
    ended = pod.run(*steps, schema_pattern="refused")
    assert ended.code != 0
    assert (ended.summary.engine, ended.summary.reason) == ("Program", reason), ended.log
    assert server.execute("select 1 from pg_namespace where nspname = 'refused'") == []
    return ended.summary.message


SOURCES = {
    "models/sources.yml": """
sources:
  - name: raw
    schema: sources
    config:
      loaded_at_field: at
      freshness: {warn_after: {count: 1, period: hour}, error_after: {count: 1, period: day}}
    tables: [{name: fresh}, {name: old}, {name: stale}, {name: lost}]
""",
}
AGES = {"fresh": "0 hours", "old": "2 hours", "stale": "2 days"}


def test_the_age_of_sources_is_what_it_says(tmp_path: Path, server: Postgres) -> None:
    server.execute("create schema sources")
    for name, age in AGES.items():
        server.execute(f"create table sources.{name} as select now() - interval '{age}' as at")
    pod = make_pod(tmp_path, SOURCES, server.make_profile())
    may_fail: dict[str, Any] = {"allow_failure": True}
    ended = pod.run(
        step("sourceFreshness", "--select", "source:raw.fresh", "source:raw.old", name="good"),
        step("sourceFreshness", "--exclude", "source:raw.lost", name="stale", **may_fail),
        step("sourceFreshness", name="lost", **may_fail),
        step("sourceFreshness", "--select", "tag:nothing", name="empty", **may_fail),
    )
    assert (ended.code, ended.summary.reason) == (0, ""), ended.log
    good = ended.step("good")["nodes"]
    assert (good["total"], good["passed"], good["warn"]) == (2, 1, 1)
    assert ended.artifact("good/sources.json")["metadata"]["dbt_version"] == IN_IMAGE.version
    stale = ended.step("stale")
    assert stale["reason"] == "FreshnessFailed", stale
    assert "source.shop.raw.stale" in stale["message"]
    assert "source.shop.raw.old" not in stale["message"]
    lost = ended.step("lost")
    assert (lost["reason"], "sources.lost" in lost["message"]) == ("ModelError", True), lost
    assert ended.step("empty")["reason"] == "NothingSelected"


@pytest.mark.parametrize(
    ("output", "env", "reason", "words"),
    [
        ({"port": 1}, {}, "Unavailable", "Connection refused"),
        ({"password": "wrong"}, {}, "ConfigError", "password authentication failed"),
        ({}, {"DBT_ALLOW_EXPERIMENTAL_ADAPTERS": ""}, "ConfigError", "EXPERIMENTAL_ADAPTERS=true"),
    ],
)
def test_a_warehouse_that_it_does_not_get_into_has_its_reason(
    tmp_path: Path,
    server: Postgres,
    output: dict[str, Any],
    env: dict[str, str],
    reason: str,
    words: str,
) -> None:
    pod = make_pod(tmp_path, SHOP, server.make_profile(**output))
    pod.env.update(env)
    ended = pod.run(step("build", "--select", "orders"))
    assert ended.summary.reason == reason, ended.log
    assert words in ended.summary.message


def test_without_a_driver_and_a_way_to_one_it_is_told_what_to_do(
    tmp_path: Path, server: Postgres
) -> None:
    pod = make_pod(tmp_path, SHOP, server.make_profile(), with_driver=False)
    # Nobody answers there, as in a pod that may not reach anything but its warehouse.
    pod.env.update(dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9"))
    ended = pod.run(step("build", "--select", "orders"))
    assert ended.summary.reason == "ConfigError", ended.log
    assert "put the driver into the image" in ended.summary.message


def test_an_interrupt_leaves_no_query_and_no_results(pod: Pod, server: Postgres) -> None:
    process = pod.start(
        step("build", "--select", "raw", "orders", "slow"), step("seed", always=True)
    )
    seen = pod.watch(process, lambda seen: seen.done == 4 and "model.shop.slow" in seen.running)
    assert seen[-1].total == 5
    wait_for("the query is at work", lambda: server.execute(SLEEPS) == [(1,)])
    process.send_signal(signal.SIGTERM)
    ended = pod.finish(process)
    assert server.execute(SLEEPS) == [(0,)]
    assert ended.summary.reason == "Cancelled"
    assert "is not believed" in ended.summary.message
    assert ended.summary.nodes.total == 0
    assert not (ended.layout.artifacts / "build/run_results.json").exists()
    assert [each["state"] for each in ended.result["steps"]] == ["Failed", "Skipped"]
    assert ended.step("build")["resume"] == ""


def test_a_kill_leaves_nothing_to_believe_and_the_server_can_be_told_to_notice(
    pod: Pod, server: Postgres
) -> None:
    """Only the server can end a query whose client was killed; it is told to by a variable."""
    pod.env["PGOPTIONS"] = "-c client_connection_check_interval=500"
    process = pod.start(step("build", "--select", "raw", "orders", "slow"))
    pod.watch(process, lambda seen: "model.shop.slow" in seen.running)
    wait_for("the query is at work", lambda: server.execute(SLEEPS) == [(1,)])
    _kill_dbt(process.pid)
    ended = pod.finish(process)
    assert (ended.summary.reason, ended.code) == ("Unknown", 137)
    assert "SIGKILL" in ended.summary.message
    assert ended.summary.nodes.total == 0
    wait_for("the query is gone", lambda: server.execute(SLEEPS) == [(0,)])


def _kill_dbt(supervisor: int) -> None:
    for worker in children(supervisor):
        for dbt in children(worker):
            os.kill(dbt, signal.SIGKILL)


def test_windows_run_one_after_the_other_in_one_pod(tmp_path: Path, server: Postgres) -> None:
    model = "{{ config(materialized='incremental') }} select '{{ var('ds') }}' as ds"
    pod = make_pod(tmp_path, {"models/days.sql": model}, server.make_profile(schema="windows"))
    argv = ("--vars", '{"ds":"$(window.start)"}')
    windows = [Window(key, {"window.start": key}) for key in ("a", "b")]
    ended = pod.run(step("run", *argv), windows=windows)
    assert (ended.summary.reason, ended.summary.windows) == ("", "++"), ended.log
    assert server.execute("select ds from windows.days order by ds") == [("a",), ("b",)]


EVENTS = {
    "models/events.sql": """
{{ config(materialized='table', event_time='at') }}
select 1 as id, timestamp '2024-01-01 05:00' as at union all select 2, timestamp '2024-01-02 05:00'
""",
    "models/copies.sql": "{{ config(materialized='table') }} select * from {{ ref('events') }}",
    "models/batches.sql": """
{{ config(materialized='incremental', incremental_strategy='microbatch', event_time='at',
          batch_size='day', begin='2024-01-01', unique_key='id') }}
select * from {{ ref('events') }}
""",
    "models/schema.yml": """
models:
  - name: events
    columns: [{name: id, data_tests: [{accepted_values: {arguments: {values: [7], quote: false}, config: {severity: warn}}}]}]
""",
}


def test_flags_do_what_they_say(tmp_path: Path, server: Postgres) -> None:
    """It takes them all; that proves nothing."""
    pod = make_pod(tmp_path, EVENTS, server.make_profile(schema="flags"))
    gate = ("--warn-error-options", '{"error": ["LogTestResult"]}')
    times = ("--event-time-start", "2024-01-02", "--event-time-end", "2024-01-03")
    ended = pod.run(
        step("run", "--select", "events", "copies", name="all"),
        step("run", "--select", "copies", "--empty", name="empty"),
        step("run", "--select", "batches", *times, name="batch"),
        step("build", "--select", "events", "batches", *gate, name="gate", allow_failure=True),
    )
    assert (ended.code, ended.summary.reason) == (0, ""), ended.log
    assert server.execute("select count(*) from flags.copies") == [(0,)]
    assert server.execute("select id from flags.batches") == [(2,)]
    gated = ended.step("gate")
    assert (gated["reason"], gated["nodes"]["skipped"]) == ("TestFailed", 1), gated


def test_a_selection_by_state_compares_with_it(tmp_path: Path, server: Postgres) -> None:
    before = make_pod(tmp_path / "before", SHOP, server.make_profile()).run(step("seed"))
    manifest = before.artifact("seed/manifest.json")
    del manifest["nodes"]["model.shop.orders"]
    state = tmp_path / "state"
    state.mkdir()
    (state / "manifest.json").write_text(json.dumps(manifest))
    pod = make_pod(tmp_path / "after", SHOP, server.make_profile())
    ended = pod.run(step("run", "--select", "state:new", "--state", str(state)))
    assert (ended.code, ended.summary.nodes.total) == (0, 1), ended.log
    assert ended.step("run")["results"][0]["unique_id"] == "model.shop.orders"
