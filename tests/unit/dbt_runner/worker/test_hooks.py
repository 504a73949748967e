"""Hooks of a project and of its packages: what dbt selects, what it leaves results of, and what a
run makes of it.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.command_lines import tell_ends
from tests.support.pods import Ended, Pod, step

pytestmark = pytest.mark.dbt
PROJECT = """
name: shop
version: "1.0"
profile: shop
on-run-start: ["select 1", "select 2"]
on-run-end: "select 3"
"""
PACKAGE = """
name: pack
version: "1.0"
on-run-start: "select 4"
on-run-end: ["select 5", "select 6"]
"""
MODELS = {
    "dbt_project.yml": PROJECT,
    "packages.yml": "packages: [{local: pack}]",
    "pack/dbt_project.yml": PACKAGE,
    "pack/models/packed.sql": "select 1 as id",
    "dbt_packages/pack/dbt_project.yml": PACKAGE,
    "dbt_packages/pack/models/packed.sql": "select 1 as id",
    "seeds/raw.csv": "id,loaded_at\n1,2024-01-01 00:00:00\n",
    "models/staging.sql": "{{ config(materialized='ephemeral') }} select 1 as id",
    "models/orders.sql": (
        "select r.* from {{ ref('raw') }} as r join {{ ref('staging') }} using (id)"
    ),
    "models/totals.sql": "select count(*) as n from {{ ref('orders') }}",
    "models/disabled.sql": "{{ config(enabled=false) }} select 1 as id",
    "analyses/look.sql": "select * from {{ ref('totals') }}",
    "snapshots/history.yml": """
snapshots:
  - name: history
    relation: ref('orders')
    config: {unique_key: id, strategy: check, check_cols: all}
""",
    "models/schema.yml": """
sources:
  - name: raw
    schema: analytics
    tables:
      - name: raw
        config:
          loaded_at_field: loaded_at::timestamp
          freshness: {warn_after: {count: 1, period: day}}
models:
  - {name: orders, columns: [{name: id, data_tests: [not_null]}]}
unit_tests:
  - name: counts
    model: totals
    given:
      - {input: ref('orders'), rows: [{id: 1}, {id: 2}]}
    expect: {rows: [{n: 2}]}
exposures:
  - {name: board, type: dashboard, owner: {name: me}, depends_on: [ref('totals')]}
""",
    "macros/does.sql": "{% macro does() %}{% do run_query('select 1') %}{% endmacro %}",
}
_OF_PROJECT = {f"operation.shop.shop-on-run-{end}" for end in ("start-0", "start-1", "end-0")}
_OF_PACKAGE = {f"operation.pack.pack-on-run-{end}" for end in ("start-0", "end-0", "end-1")}
_HOOKS = _OF_PROJECT | _OF_PACKAGE
_SEED, _SNAPSHOT, _TEST, _UNIT_TEST = (
    "seed.shop.raw",
    "snapshot.shop.history",
    "test.shop.not_null_orders_id.84ef11d8fe",
    "unit_test.shop.totals.counts",
)
_MODELS = {"model.shop.orders", "model.shop.totals", "model.pack.packed"}
_BUILT = {_SEED, *_MODELS, _SNAPSHOT, _TEST, _UNIT_TEST, "exposure.shop.board"}
_COMPILED = {_SEED, *_MODELS, _SNAPSHOT, _TEST, "analysis.shop.look"}

# A command line, and what has to have a result; None where dbt selects nothing, or nothing is
# selected by it.
EXPECTED: dict[str, set[str] | None] = {
    "seed": {_SEED, *_HOOKS},
    "source freshness": {"source.shop.raw.raw"},
    "run": _MODELS | _HOOKS,
    "build": _BUILT | _HOOKS,
    "test": {_TEST, _UNIT_TEST, *_HOOKS},
    "snapshot": {_SNAPSHOT, *_HOOKS},
    "compile": _COMPILED | _HOOKS,
    "docs generate": _COMPILED | _HOOKS,
    "clone --state target": {_SEED, *_MODELS, _SNAPSHOT},
    "list": None,
    "run-operation does": None,
    "run --select staging+": {"model.shop.orders", "model.shop.totals", *_HOOKS},
    "run --select staging": _HOOKS,
    "build --select disabled": None,
    "build --select totals": {"model.shop.totals", _UNIT_TEST, *_HOOKS},
    "build --select totals --exclude-resource-type unit_test": {"model.shop.totals", *_HOOKS},
    "test --select test_type:unit": {_UNIT_TEST, *_HOOKS},
    "compile --select orders": {"model.shop.orders", _TEST},
    "compile --select +orders": {"model.shop.orders", _TEST, _SEED},
    "compile --select staging": set(),
    "compile --select package:pack": {"model.pack.packed", *_OF_PACKAGE},
    "compile --exclude package:pack": _COMPILED - {"model.pack.packed"} | _OF_PROJECT,
    "compile --select tag:none": None,
    "docs generate --select orders": {"model.shop.orders", _TEST},
    "docs generate --select tag:none": None,
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return tell_ends(Pod(tmp_path_factory.mktemp("told") / "pod", MODELS), list(EXPECTED))


@pytest.mark.parametrize("line", EXPECTED)
def test_what_has_to_have_a_result_is_known_and_has_one(
    told: dict[str, dict[str, Any]], line: str
) -> None:
    found, expected = told[line], EXPECTED[line]
    assert found["code"] == 0, found["message"]
    assert found["expected"] == (None if expected is None else sorted(expected))
    assert set(found["expected"] or ()) <= set(found["found"])


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    pod = Pod(tmp_path_factory.mktemp("ran") / "pod", MODELS)
    return pod.run(
        step("build"),
        step("compile"),
        step("docs", "--static"),
        step("compile", "--select", "orders", name="selected"),
        step("build", "--select", "staging", name="ephemeral", allow_failure=True),
    )


@pytest.mark.parametrize("name", ["build", "compile", "docs", "selected"])
def test_a_project_with_hooks_succeeds(ran: Ended, name: str) -> None:
    assert (ran.step(name)["state"], ran.step(name)["message"]) == ("Succeeded", "")


def test_hooks_are_no_nodes(ran: Ended) -> None:
    assert [ran.step(name)["nodes"]["total"] for name in ("build", "compile", "docs")] == [
        len(_BUILT),
        0,
        0,
    ]


def test_an_ephemeral_model_alone_is_nothing_to_build(ran: Ended) -> None:
    assert ran.step("ephemeral")["reason"] == "NothingSelected"
    assert "matches only ephemeral models or hooks" in ran.step("ephemeral")["message"]
