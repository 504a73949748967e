{%- set kinds = ["food", "home"] -%}
select orders.placed_on
{%- for kind in kinds %},
  sum(case when products.kind = '{{ kind }}' then orders.amount else 0 end) as {{ kind }}
{%- endfor %}
from {{ ref('fct_order_lines') }} as lines
join {{ ref('dim_products') }} as products on products.product_id = lines.product_id
join {{ ref('fct_orders') }} as orders on orders.order_id = lines.order_id
group by orders.placed_on
