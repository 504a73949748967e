{%- set names = tools.list_columns_of(ref('fct_orders'), ['status']) -%}
{%- if names %}
select {{ names | join(', ') }} from {{ ref('fct_orders') }}
{%- else %}
select * from {{ ref('fct_orders') }}
{%- endif %}
