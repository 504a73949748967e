select orders.order_id, orders.amount, coalesce(payments.paid, 0) as paid
from {{ ref('fct_orders') }} as orders
left join {{ ref('int_order_payments') }} as payments on payments.order_id = orders.order_id
where orders.amount > coalesce(payments.paid, 0)
