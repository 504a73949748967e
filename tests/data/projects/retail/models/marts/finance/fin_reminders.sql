{{ config(materialized='view') }}
select order_id, amount - paid as owed from {{ ref('fin_outstanding') }}
