{% macro list_columns_of(relation, other_than=[]) %}
  {#- The names of a table's columns as it is in the warehouse; none, while dbt only parses. -#}
  {%- if not execute or flags.WHICH in ('list', 'parse') -%}{{ return([]) }}{%- endif -%}
  {%- set found = adapter.get_relation(relation.database, relation.schema, relation.identifier) -%}
  {%- if found is none -%}{{ return([]) }}{%- endif -%}
  {%- set names = [] -%}
  {%- for column in adapter.get_columns_in_relation(found) if column.name not in other_than -%}
    {%- do names.append(column.name) -%}
  {%- endfor -%}
  {{ return(names) }}
{% endmacro %}

{% macro stack(relations, columns) %}
  {%- for relation in relations %}
  select {{ columns | join(', ') }}, '{{ relation.identifier }}' as found_in from {{ relation }}
  {{- " union all" if not loop.last }}
  {%- endfor %}
{% endmacro %}

{% macro count_rows(relations) %}
  {#- An operation: says how many rows tables of this project have. -#}
  {%- for name in relations %}
    {%- set found = run_query("select count(*) from " ~ ref(name)) -%}
    {%- do log(name ~ ": " ~ found.columns[0].values()[0], info=true) -%}
  {%- endfor %}
{% endmacro %}
