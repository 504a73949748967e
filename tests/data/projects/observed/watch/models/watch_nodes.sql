select
{%- for name in ['which', 'unique_id', 'resource_type', 'parents'] %}
  cast('' as {{ dbt.type_string() }}) as {{ name }}{{ "," if not loop.last }}
{%- endfor %}
where 1 = 2
