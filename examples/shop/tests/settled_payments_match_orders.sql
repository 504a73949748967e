{{ config(severity='error') }}

-- What was settled for an order that counts as revenue is its amount, unless nothing was: see shipped_orders_are_paid.
select
    order_id,
    amount,
    paid
from {{ ref('int_order_amounts') }}
where
    is_revenue
    and paid <> 0
    and paid <> amount
