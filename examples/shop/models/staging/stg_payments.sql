select
    payment_id,
    order_id,
    method,
    status,
    amount,
    paid_at
from {{ source('shop', 'payments') }}
