{% macro duckdb__scalar_function_sql(target_relation) %}
  {#- The adapter has none of its own, and its warehouse calls a function a macro. -#}
  create or replace macro {{ target_relation.render() }}(seconds) as ({{ model.compiled_code }})
{% endmacro %}

{% macro minutes(column) -%}
  {#- dbt 1.10 knows no functions. -#}
  {%- if function is defined -%}{{ function('in_minutes') }}({{ column }})
  {%- else -%}({{ column }}) / 60.0
  {%- endif -%}
{%- endmacro %}
