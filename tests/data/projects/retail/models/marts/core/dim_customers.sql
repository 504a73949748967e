select
  customers.customer_id,
  customers.name,
  customers.joined_on,
  cast(coalesce(sums.orders, 0) as integer) as orders
from {{ ref('stg_customers') }} as customers
left join (
  select customer_id, count(*) as orders from {{ ref('stg_orders') }} group by customer_id
) as sums on sums.customer_id = customers.customer_id
