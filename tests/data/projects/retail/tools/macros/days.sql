{% macro count_days(first, after) %}
  {%- if not execute -%}{{ return(1) }}{%- endif -%}
  {%- set found = run_query(
    "select cast('" ~ after ~ "' as date) - cast('" ~ first ~ "' as date) as days") -%}
  {{ return(found.columns[0].values()[0] | int) }}
{% endmacro %}

{% macro list_days(first, after) %}
  {#- One row a day, of powers of two, as no warehouse has to know how to count. -#}
  {%- set days = tools.count_days(first, after) -%}
  with bits as (select 0 as bit union all select 1)
  select cast({{ dbt.dateadd('day', 'n', "cast('" ~ first ~ "' as date)") }} as date) as day_on
  from (
    select {% for power in range(6) %}{{ " + " if power }}b{{ power }}.bit * {{ 2 ** power }}
      {%- endfor %} as n
    from bits as b0{% for power in range(1, 6) %} cross join bits as b{{ power }}{% endfor %}
  ) as numbers
  where n < {{ days }}
{% endmacro %}
