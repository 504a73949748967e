"""What each command selects of a project with nodes of all kinds, and the verdict on it.

Bare dbt succeeds with all of these, and so does a run that may select nothing.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.command_lines import tell_ends
from tests.support.pods import Pod

pytestmark = pytest.mark.dbt
FILES = {
    "dbt_packages/pack/dbt_project.yml": 'name: pack\nversion: "1.0"\n',
    "dbt_packages/pack/macros/packed.sql": (
        "{% macro packed() %}{% do run_query('select 1') %}{% endmacro %}"
    ),
    "packages.yml": "packages: [{local: pack}]",
    "pack/dbt_project.yml": 'name: pack\nversion: "1.0"\n',
    "models/staging.sql": "{{ config(materialized='ephemeral') }} select 1 as id",
    "models/orders.sql": "select id, current_date as loaded_at from {{ ref('staging') }}",
    "models/totals.sql": "select count(*) as n from {{ ref('orders') }}",
    "models/time_spine.sql": "select cast('2024-01-01' as date) as date_day",
    "models/off.sql": "{{ config(enabled=false) }} select 1 as id",
    "tests/single.sql": "select id from {{ ref('orders') }} where false",
    "tests/off_too.sql": "{{ config(enabled=false) }} select id from {{ ref('orders') }}",
    "analyses/look.sql": "select * from {{ ref('orders') }}",
    "functions/twice.sql": "x * 2",
    "functions/schema.yml": """
functions:
  - {name: twice, arguments: [{name: x, data_type: int}], returns: {data_type: int}}
""",
    # The adapter has none of its own, and its warehouse calls a function a macro.
    "macros/functions.sql": (
        "{% macro duckdb__scalar_function_sql(target_relation) %}"
        "create or replace macro {{ target_relation.render() }}(x) as ({{ model.compiled_code }})"
        "{% endmacro %}"
    ),
    "models/schema.yml": """
sources:
  - {name: raw, schema: analytics, tables: [{name: orders}]}
models:
  - {name: orders, columns: [{name: id, data_tests: [not_null]}]}
  - name: time_spine
    time_spine: {standard_granularity_column: date_day}
    columns: [{name: date_day, granularity: day}]
unit_tests:
  - name: counts
    model: totals
    given: [{input: ref('orders'), rows: [{id: 1}, {id: 2}]}]
    expect: {rows: [{n: 2}]}
exposures:
  - {name: board, type: dashboard, owner: {name: me}, depends_on: [ref('orders')]}
semantic_models:
  - name: sales
    model: ref('orders')
    defaults: {agg_time_dimension: loaded_at}
    entities: [{name: id, type: primary}]
    dimensions: [{name: loaded_at, type: time, type_params: {time_granularity: day}}]
    measures: [{name: many, agg: sum, expr: '1'}]
metrics:
  - {name: sold, label: sold, type: simple, type_params: {measure: many}}
saved_queries:
  - name: saved
    query_params: {metrics: [sold], group_by: ["TimeDimension('id__loaded_at', 'day')"]}
    exports: [{name: exported, config: {export_as: table}}]
""",
}
_MODELS = {"model.shop.orders", "model.shop.time_spine", "model.shop.totals"}
_SINGLE, _UNIT_TEST, _LOOK = (
    "test.shop.single",
    "unit_test.shop.totals.counts",
    "analysis.shop.look",
)
_TESTS = {_SINGLE, "test.shop.not_null_orders_id.84ef11d8fe"}
_FUNCTION = {"function.shop.twice"}
_QUERY, _BOARD = "saved_query.shop.saved", "exposure.shop.board"

# A command line, and what has to have a result; None where there is nothing to do, or nothing is
# selected by it.
EXPECTED: dict[str, set[str] | None] = {
    "build": {*_MODELS, *_TESTS, *_FUNCTION, _UNIT_TEST, _QUERY, _BOARD},
    "build --select tag:none": None,
    "build --exclude *": None,
    "build --select staging": set(),
    "build --select off": None,
    "build --select single": {_SINGLE},
    "build --select twice": _FUNCTION,
    "build --select exposure:board": {_BOARD},
    "build --select saved_query:saved": {_QUERY},
    "build --select metric:sold": None,
    "build --select semantic_model:sales": None,
    "build --select source:raw": None,
    "build --resource-type test": _TESTS,
    "build --resource-type unit_test": None,
    "build --resource-type saved_query": {_QUERY},
    "run": _MODELS,
    "run --select staging": set(),
    "run --select twice": None,
    "run --select saved_query:saved": None,
    "test": {*_TESTS, _UNIT_TEST},
    "test --select single": {_SINGLE},
    "test --select off_too": None,
    "test --select exposure:board": None,
    "seed": None,
    "snapshot": None,
    "compile": {*_MODELS, *_TESTS, *_FUNCTION, _LOOK},
    "compile --select twice": _FUNCTION,
    "compile --select staging": set(),
    "compile --select metric:sold": None,
    "compile --select exposure:board": None,
    "docs generate": {*_MODELS, *_TESTS, *_FUNCTION, _LOOK},
    "docs generate --select source:raw": None,
    "docs generate --select tag:none": None,
    "clone --state target": _MODELS,
    "clone --state target --select twice": None,
    "clone --state target --select staging": set(),
    "source freshness": None,
    "list": None,
    "list --select metric:sold": None,
    "list --select tag:none": None,
    "run-operation packed": None,
    "run-operation pack.packed": None,
}
# These have something to show for themselves that has no result, or that no run counts on.
FRUITFUL = {
    "compile --select staging",
    "docs generate --select source:raw",
    "docs generate --select tag:none",
    "list",
    "list --select metric:sold",
    "run-operation packed",
    "run-operation pack.packed",
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return tell_ends(Pod(tmp_path_factory.mktemp("told") / "pod", FILES), list(EXPECTED))


@pytest.mark.parametrize("line", EXPECTED)
def test_a_command_is_judged_by_what_it_has_to_leave(
    told: dict[str, dict[str, Any]], line: str
) -> None:
    found, expected = told[line], EXPECTED[line]
    assert found["code"] == 0, found["message"]
    assert found["expected"] == (None if expected is None else sorted(expected))
    assert set(found["expected"] or ()) <= set(found["found"])
    assert found["allowed"] == ""
    assert found["strict"] == ("" if expected or line in FRUITFUL else "NothingSelected")
