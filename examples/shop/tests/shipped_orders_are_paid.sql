{{ config(severity='warn') }}

-- Finance wants to know of orders that left the warehouse unpaid, but they stop nothing. There are three of them.
select
    order_id,
    customer_id,
    amount
from {{ ref('int_order_amounts') }}
where
    status in ('shipped', 'delivered')
    and paid = 0
