select product_id, name, kind, {{ to_euros('cents') }} as price, {{ to_euros('cost_cents') }} as cost
from {{ ref('raw_products') }}
