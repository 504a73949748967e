select stores.store_id, stores.town, sum(orders.amount) as amount, sum(orders.cost) as cost
from {{ ref('dim_stores') }} as stores
join {{ ref('fct_orders') }} as orders on orders.store_id = stores.store_id
group by stores.store_id, stores.town
