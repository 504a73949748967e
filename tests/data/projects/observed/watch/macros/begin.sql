{% macro begin() %}
  {#- The tables that hooks write into, which are no models. -#}
  {%- do run_query("create schema if not exists " ~ target.schema ~ "_watch") -%}
  {%- set columns = "(which text, name text, full_refresh boolean)" -%}
  {%- do run_query("create table if not exists " ~ watch.log_of('starts') ~ " " ~ columns) -%}
  {%- do run_query("create table if not exists " ~ watch.log_of('touches') ~ " " ~ columns) -%}
  insert into {{ watch.log_of('starts') }} values (
    '{{ flags.WHICH }}', '{{ invocation_args_dict.which }}',
    {{ invocation_args_dict.get('full_refresh') is true }})
{% endmacro %}

{% macro log_of(name) -%}{{ target.schema }}_watch.log_of_{{ name }}{%- endmacro %}

{% macro touch(relation) %}
  {%- if flags.WHICH in ('build', 'run', 'seed') -%}
  insert into {{ watch.log_of('touches') }} values (
    '{{ flags.WHICH }}', '{{ relation.identifier }}', {{ should_full_refresh() }})
  {%- endif -%}
{% endmacro %}
