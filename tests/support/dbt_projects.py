"""Small projects of dbt, as text."""

from __future__ import annotations

CANARY = "canary-4711-secret"


SHOP = {
    "seeds/raw_orders.csv": "id,loaded_at\n1,2024-01-01 00:00:00\n2,2024-01-02 00:00:00\n",
    "models/orders.sql": (
        "select *, '{{ env_var('WAREHOUSE_TOKEN', '') }}' as leak from {{ ref('raw_orders') }}"
    ),
    # Ephemeral, so that its schema is none.
    "models/staging.sql": (
        "{{ config(materialized='ephemeral', schema='elsewhere') }} select 1 as id"
    ),
    "models/totals.sql": "select count(*) as n from {{ ref('orders') }}",
    "snapshots/orders_history.yml": """
snapshots:
  - name: orders_history
    relation: ref('orders')
    config: {unique_key: id, strategy: check, check_cols: all}
""",
    "models/schema.yml": """
sources:
  - name: raw
    schema: analytics
    tables:
      - name: raw_orders
        config:
          loaded_at_field: "loaded_at::timestamp"
          freshness: {warn_after: {count: 1, period: day}}
models:
  - name: orders
    columns:
      - name: id
        data_tests:
          - unique
          - not_null
          - accepted_values: {arguments: {values: [7], quote: false}, config: {severity: warn}}
unit_tests:
  - name: counts
    model: totals
    given:
      - {input: ref('orders'), rows: [{id: 1}, {id: 2}, {id: 3}]}
    expect: {rows: [{n: 3}]}
""",
    "macros/leak.sql": """
{% macro leak() %}{% do log('the token is ' ~ env_var('WAREHOUSE_TOKEN'), info=True) %}{% endmacro %}
""",
}


BROKEN = {
    "seeds/raw.csv": "id,loaded_at\n1,2024-01-01 00:00:00\n1,2024-01-02 00:00:00\n",
    "models/good.sql": "select * from {{ ref('raw') }}",
    "models/broken.sql": "select no_such_column from {{ ref('raw') }}",
    "models/after.sql": "select * from {{ ref('broken') }}",
    "models/schema.yml": """
sources:
  - name: stale
    schema: analytics
    tables:
      - name: raw
        config:
          loaded_at_field: loaded_at::timestamp
          freshness: {error_after: {count: 1, period: day}}
  - name: missing
    schema: analytics
    tables:
      - {name: nowhere, config: {loaded_at_field: at, freshness: {error_after: {count: 1, period: day}}}}
models:
  - name: good
    columns: [{name: id, data_tests: [unique, not_null]}]
""",
    "macros/hooks.sql": """
{% macro hook(which) %}{% if var('hook', '') == which %}select * from no_such_table{% endif %}{% endmacro %}
{% macro breaks() %}{% do run_query('select * from no_such_table') %}{% endmacro %}
""",
    "dbt_project.yml": """
name: shop
version: "1.0"
profile: shop
on-run-start: "{{ hook('start') }}"
on-run-end: "{{ hook('end') }}"
""",
}


ONE_MODEL = {"models/one.sql": "select 1 as id"}


NOBODY_THERE = """
shop:
  outputs:
    prod: {type: postgres, host: 127.0.0.1, port: 1, user: bot, password: the-password, dbname: shop, schema: analytics}
"""


WRONG = {
    "models/right.sql": "select 1 as id",
    "models/wrong.sql": "{{ config(schema='elsewhere') }} select 1 as id",
    "models/schema.yml": "models: [{name: wrong, columns: [{name: id, data_tests: [unique]}]}]",
}


# DuckDB needs longer for this than anyone waits. DuckDB needs longer for this than anyone waits; it
# is a table, since to create a view takes no time.
SLOW = {
    "models/quick.sql": "select 1 as id",
    "models/slow.sql": """
{{ config(materialized='table') }}
select sum(hash(a.i + b.i)) as n from {{ ref('quick') }}, range(1000000000) as a (i), range(1000000000) as b (i)
""",
    "models/after.sql": "select * from {{ ref('slow') }}",
}
