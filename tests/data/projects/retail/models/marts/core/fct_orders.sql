{{ config(materialized='incremental', unique_key='order_id', on_schema_change='sync_all_columns') }}
select
  orders.order_id, orders.customer_id, orders.store_id, orders.placed_on, orders.status,
  amounts.amount, amounts.cost, amounts.lines
from {{ ref('stg_orders') }} as orders
join {{ ref('int_order_amounts') }} as amounts on amounts.order_id = orders.order_id
{% if is_incremental() %}
where orders.placed_on >= (select max(placed_on) from {{ this }})
{% endif %}
