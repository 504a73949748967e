{% macro land(state=none) %}
  {#- An operation: what others would have loaded, in the state that is wanted. -#}
  {%- set state = state or env_var('APP_STATE', 'green') -%}
  {%- set days = {'green': 0, 'warning': 3, 'failing': 9}[state] -%}
  {%- set bad = {'green': 0, 'warning': 2, 'failing': 8}[state] -%}
  {%- set schema = target.schema ~ '_landing' -%}
  {%- do run_query("create schema if not exists " ~ schema) -%}
  {%- for name in ['stations', 'readings', 'alerts'] -%}
    {%- do run_query("drop table if exists " ~ schema ~ "." ~ name ~ " cascade") -%}
  {%- endfor -%}
  {%- set arrived = "cast(now() as timestamp) - interval '" ~ days ~ " days'" -%}
  {%- do run_query(
    "create table " ~ schema ~ ".stations as select 1 as station_id, 'Oslo' as town"
    " union all select 2, 'Łódź' union all select 3, 'Faro'") -%}
  {%- do run_query(
    "create table " ~ schema ~ ".readings as select n as reading_id, 1 + n % 3 as station_id,"
    " cast('2024-03-01' as timestamp) + n * interval '1 hour' as measured_at,"
    " case when n > " ~ bad ~ " then n * 0.5 end as celsius, " ~ arrived ~ " as arrived_at"
    " from generate_series(1, 48) as numbers(n)") -%}
  {%- if state != 'failing' -%}
    {%- do run_query(
      "create table " ~ schema ~ ".alerts as select 1 as alert_id, 2 as station_id,"
      " 'frost' as kind, " ~ arrived ~ " as arrived_at") -%}
  {%- endif -%}
  {%- do log("landed: " ~ state, info=true) -%}
{% endmacro %}
