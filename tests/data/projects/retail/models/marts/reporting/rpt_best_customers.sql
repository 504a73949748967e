select customers.name, sum(orders.amount) as amount
from {{ ref('dim_customers') }} as customers
join {{ ref('fct_orders') }} as orders on orders.customer_id = customers.customer_id
group by customers.name
