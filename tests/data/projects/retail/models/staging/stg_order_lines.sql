select {{ tools.make_key(['order_id', 'line']) }} as line_key, order_id, line, product_id, quantity
from {{ ref('raw_order_lines') }}
