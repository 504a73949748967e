select days.day_on, count(orders.order_id) as orders, coalesce(sum(orders.amount), 0) as amount
from {{ ref('dim_days') }} as days
left join {{ ref('fct_orders') }} as orders on orders.placed_on = days.day_on
group by days.day_on
