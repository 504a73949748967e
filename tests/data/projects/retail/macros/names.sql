{% macro generate_schema_name(custom_schema_name, node) -%}
  {%- if custom_schema_name is none -%}{{ target.schema }}
  {%- elif target.name == 'prod' -%}{{ target.schema }}_{{ custom_schema_name | trim }}
  {%- else -%}{{ target.schema }}_dev
  {%- endif -%}
{%- endmacro %}

{% macro generate_alias_name(custom_alias_name=none, node=none) -%}
  {%- if custom_alias_name -%}{{ custom_alias_name | trim }}
  {%- elif node.version -%}{{ node.name }}_{{ node.version | string | replace('.', '_') }}
  {%- else -%}{{ node.name | replace('stg_', 'staged_') }}
  {%- endif -%}
{%- endmacro %}
