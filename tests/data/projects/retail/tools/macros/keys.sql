{% macro make_key(columns) -%}
  {{ return(adapter.dispatch('make_key', 'tools')(columns)) }}
{%- endmacro %}

{% macro default__make_key(columns) -%}
  {%- set parts = [] -%}
  {%- for column in columns -%}
    {%- do parts.append("coalesce(cast(" ~ column ~ " as " ~ dbt.type_string() ~ "), '-')") -%}
  {%- endfor -%}
  {{ dbt.hash(parts | join(" || '/' || ")) }}
{%- endmacro %}

{% macro duckdb__make_key(columns) -%}
  md5(concat_ws('/',
  {%- for column in columns %} coalesce(cast({{ column }} as varchar), '-')
  {{- "," if not loop.last }}{% endfor %}))
{%- endmacro %}
