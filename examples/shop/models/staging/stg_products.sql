select
    product_id,
    name as product_name,
    category,
    price,
    cost,
    price - cost as margin,
    is_listed
from {{ source('shop', 'products') }}
