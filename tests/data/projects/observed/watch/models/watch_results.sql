select
{%- for name in ['which', 'unique_id', 'status', 'resource_type', 'severity', 'owner', 'failures'] %}
  cast('' as {{ dbt.type_string() }}) as {{ name }}{{ "," if not loop.last }}
{%- endfor %}
where 1 = 2
