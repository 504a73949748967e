select
    order_id,
    customer_id,
    status,
    placed_at,
    shipped_at,
    closed_at,
    status not in ('returned', 'cancelled') as is_revenue
from {{ source('shop', 'orders') }}
