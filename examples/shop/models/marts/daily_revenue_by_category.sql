select
    cast(orders.placed_at as date) as revenue_date,
    products.category,
    count(distinct orders.order_id) as orders,
    sum(items.quantity) as units,
    sum(items.amount) as revenue,
    sum(items.amount - items.quantity * products.cost) as margin
from {{ ref('stg_orders') }} as orders
inner join {{ ref('stg_order_items') }} as items on items.order_id = orders.order_id
inner join {{ ref('stg_products') }} as products on products.product_id = items.product_id
where orders.is_revenue
group by cast(orders.placed_at as date), products.category
