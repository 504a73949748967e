{% test not_null_proportion(model, column_name, at_least=1.0) %}
select share from (
  select sum(case when {{ column_name }} is null then 0.0 else 1.0 end) / count(*) as share
  from {{ model }}
) as counted
where share < {{ at_least }}
{% endtest %}

{% test has_rows(model) %}
  {%- set counted = "select count(*) as n from " ~ model -%}
  select n from ({{ counted }}) as counted where n = 0
{% endtest %}

{% test agrees_with(model, column_name, other, other_column) %}
select a.total as here, b.total as there
from (select sum({{ column_name }}) as total from {{ model }}) as a
cross join (select sum({{ other_column }}) as total from {{ other }}) as b
where a.total <> b.total
{% endtest %}
