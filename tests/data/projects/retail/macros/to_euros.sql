{% macro to_euros(column) -%}
cast({{ column }} as numeric(16, 2)) / 100
{%- endmacro %}
