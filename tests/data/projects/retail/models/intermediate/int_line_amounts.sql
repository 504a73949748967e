select
  lines.line_key, lines.order_id, lines.line, lines.product_id, lines.quantity,
  lines.quantity * products.price as amount,
  lines.quantity * products.cost as cost
from {{ ref('stg_order_lines') }} as lines
join {{ ref('stg_products') }} as products on products.product_id = lines.product_id
