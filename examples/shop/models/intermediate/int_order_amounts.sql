with items as (

    select
        order_id,
        sum(amount) as amount
    from {{ ref('stg_order_items') }}
    group by order_id

),

payments as (

    select
        order_id,
        sum(case when status = 'settled' then amount else 0 end) as paid
    from {{ ref('stg_payments') }}
    group by order_id

)

select
    orders.order_id,
    orders.customer_id,
    orders.status,
    orders.placed_at,
    orders.is_revenue,
    items.amount,
    coalesce(payments.paid, 0) as paid
from {{ ref('stg_orders') }} as orders
inner join items on items.order_id = orders.order_id
left join payments on payments.order_id = orders.order_id
