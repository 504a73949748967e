with orders as (

    select
        customer_id,
        count(*) as orders,
        min(placed_at) as first_order_at,
        max(placed_at) as last_order_at,
        sum(amount) as lifetime_value
    from {{ ref('int_order_amounts') }}
    where is_revenue
    group by customer_id

)

select
    customers.customer_id,
    customers.customer_name,
    customers.country_code,
    coalesce(orders.orders, 0) as orders,
    orders.first_order_at,
    orders.last_order_at,
    coalesce(orders.lifetime_value, 0) as lifetime_value,
    rank() over (order by coalesce(orders.lifetime_value, 0) desc) as value_rank
from {{ ref('stg_customers') }} as customers
left join orders on orders.customer_id = customers.customer_id
