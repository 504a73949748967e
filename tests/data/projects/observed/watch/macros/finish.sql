{% macro finish(results) %}
  {%- if not execute or not var('watch_everything') -%}{{ return('') }}{%- endif -%}
  {%- set rows = [] -%}
  {%- for result in results -%}
    {%- set node = result.node -%}
    {%- do rows.append(watch.as_row([
      flags.WHICH, node.unique_id, result.status, node.resource_type,
      node.config.get('severity') or '', node.config.get('meta', {}).get('owner') or '',
      result.failures | string])) -%}
  {%- endfor -%}
  {%- do watch.insert_rows('watch_results', rows) -%}
  {%- set nodes = [] -%}
  {%- for node in graph.nodes.values() | sort(attribute='unique_id') -%}
    {%- do nodes.append(watch.as_row([
      flags.WHICH, node.unique_id, node.resource_type, node.depends_on.get('nodes', []) | length | string])) -%}
  {%- endfor -%}
  {%- do watch.insert_rows('watch_nodes', nodes) -%}
  {{ return('') }}
{% endmacro %}

{% macro as_row(values) -%}
  {%- set quoted = [] -%}
  {%- for value in values -%}
    {%- do quoted.append("'" ~ (value | string | replace("'", "''")) ~ "'") -%}
  {%- endfor -%}
  {{ return("(" ~ quoted | join(", ") ~ ")") }}
{%- endmacro %}

{% macro insert_rows(name, rows) %}
  {#- Where the table is a model that no run has built yet, there is nothing to write into. -#}
  {%- set found = adapter.get_relation(target.database, target.schema ~ '_watch', name) -%}
  {%- if found is not none -%}
    {%- for some in rows | batch(50) -%}
      {%- do run_query("insert into " ~ found ~ " values " ~ some | join(", ")) -%}
    {%- endfor -%}
  {%- endif -%}
{% endmacro %}
