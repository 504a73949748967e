{% macro land(state='green') %}
  {#- An operation: what others would have loaded by then. -#}
  {%- set bad = {
    'green': "'60'", 'warning': "case when n = 30 then '90000' else '60' end",
    'failing': "case when n = 30 then '-5' else '60' end",
    'partly': "case when n = 30 then 'n/a' else '60' end"}[state] -%}
  {%- do run_query("create schema if not exists " ~ target.schema) -%}
  {%- do run_query("drop table if exists " ~ target.schema ~ ".landed_visits cascade") -%}
  {%- do run_query(
    "create table " ~ target.schema ~ ".landed_visits as select n as visit_id,"
    " cast('2024-01-01' as timestamp) + n * interval '1 hour' as began_at, 1 + n % 4 as device,"
    " " ~ bad ~ " as seconds from generate_series(0, 71) as numbers(n)") -%}
{% endmacro %}
