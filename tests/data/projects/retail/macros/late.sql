{% macro late_payments() -%}
  {#- What the bank sends once a day: it is not there yet where the state is failing. -#}
  select payment_id, order_id, cents, paid_on, kind from {{ target.schema }}.late_payments
{%- endmacro %}
