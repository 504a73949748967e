select
    order_item_id,
    order_id,
    product_id,
    quantity,
    unit_price,
    cast(quantity * unit_price as numeric(12, 2)) as amount
from {{ source('shop', 'order_items') }}
