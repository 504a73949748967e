select order_id, customer_id, store_id, placed_on, status from {{ ref('raw_orders') }}
