"""dbt 2 on a real PostgreSQL, by the whole runner: what it says is believed where it is proved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.dbt_2 import make_pod
from tests.support.dbt_projects import CANARY
from tests.support.pods import PROJECT, Ended, Pod, step
from tests.support.postgres import Postgres, postgres

pytestmark = pytest.mark.one_dbt

VERSION = "2.0.0-alpha.4"
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
models:
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
def ended(tmp_path_factory: pytest.TempPathFactory, server: Postgres) -> Ended:
    """One run with many steps, each of which may fail."""
    pod = make_pod(tmp_path_factory.mktemp("ended"), SHOP, server.make_profile())
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
        schema_pattern="analytics|analytics_elsewhere",
    )


def test_its_steps_succeed_and_are_counted(ended: Ended) -> None:
    assert (ended.code, ended.summary.reason) == (0, ""), ended.log
    assert (ended.summary.engine, ended.summary.dbt_version) == ("Program", VERSION)
    built = ended.step("build")["nodes"]
    assert (built["total"], built["success"], built["passed"], built["warn"]) == (5, 3, 1, 1)
    for name in ("seed", "runOperation", "compile"):
        assert ended.step(name)["state"] == "Succeeded"
    assert ended.artifact("build/manifest.json")["metadata"]["env"]["RUN_UID"] == "uid-1"
    assert "the token is *****" in ended.log
    assert CANARY not in ended.log


@pytest.mark.parametrize(
    ("name", "reason", "named"),
    [
        ("model", "ModelError", "no_such_column"),
        ("test", "TestFailed", "test.shop.accepted_values_totals_n"),
        ("unit", "ModelError", "not yet implemented"),
        ("hook", "HookFailed", "no_such_table"),
        ("empty", "NothingSelected", "--select tag:nothing"),
        ("warned", "NothingSelected", "--select tag:nothing"),
        ("operation", "ModelError", "no_such_macro"),
    ],
)
def test_a_failure_has_its_reason_and_names_its_cause(
    ended: Ended, name: str, reason: str, named: str
) -> None:
    found = ended.step(name)
    assert (found["reason"], found["state"]) == (reason, "Failed"), found["message"]
    assert named in found["message"]


def test_what_was_built_before_a_hook_failed_is_no_failure(ended: Ended) -> None:
    """dbt 2 calls it one."""
    failed = [each["unique_id"] for each in ended.step("hook")["failures"]]
    assert failed == ["operation.shop.shop-on-run-end-0"]
