{{ config(materialized='incremental', unique_key='event_id', on_schema_change='append_new_columns') }}

with events as (

    select
        cast(order_id as varchar) || '-placed' as event_id,
        order_id,
        'placed' as event,
        placed_at as occurred_at
    from {{ ref('stg_orders') }}

    union all

    select
        cast(order_id as varchar) || '-shipped' as event_id,
        order_id,
        'shipped' as event,
        shipped_at as occurred_at
    from {{ ref('stg_orders') }}
    where shipped_at is not null

    union all

    select
        cast(order_id as varchar) || '-closed' as event_id,
        order_id,
        status as event,
        closed_at as occurred_at
    from {{ ref('stg_orders') }}
    where closed_at is not null

    union all

    select
        cast(order_id as varchar) || '-payment-' || cast(payment_id as varchar) as event_id,
        order_id,
        'payment_' || status as event,
        paid_at as occurred_at
    from {{ ref('stg_payments') }}

)

select
    event_id,
    order_id,
    event,
    occurred_at
from events
{% if is_incremental() and var('ds', none) %}
-- One day, whichever it is: examples/backfill.yaml gives each of its windows another one.
where
    occurred_at >= cast('{{ var("ds") }}' as date)
    and occurred_at < cast('{{ var("ds") }}' as date) + interval '1 day'
{% elif is_incremental() %}
where occurred_at >= (select max(occurred_at) - interval '3 days' from {{ this }})
{% endif %}
