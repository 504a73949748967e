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
{% if is_incremental() %}
-- The day in the var, if there is one, as in examples/backfill.yaml; else the last three days. The var stands in the SQL
-- and in no condition of Jinja: so dbt parses once for all the days that a pod works through.
where
    occurred_at >= coalesce(
        cast(nullif('{{ var("ds", "") }}', '') as date),
        (select max(occurred_at) - interval '3 days' from {{ this }})
    )
    and occurred_at < coalesce(cast(nullif('{{ var("ds", "") }}', '') as date) + interval '1 day', 'infinity')
{% endif %}
