with payments as (
  select payment_id, order_id, cents, paid_on, kind from {{ ref('raw_payments') }}
  {%- if var('state') == 'failing' %}
  union all
  {{ late_payments() }}
  {%- endif %}
)
select payment_id, order_id, {{ to_euros('cents') }} as paid, paid_on, kind from payments
