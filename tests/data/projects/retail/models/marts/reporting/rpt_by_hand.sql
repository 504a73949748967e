{{ config(tags=['by_hand']) }}
select count(*) as orders from {{ ref('fct_orders') }}
