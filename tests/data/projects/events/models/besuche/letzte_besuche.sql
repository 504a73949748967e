{{ config(materialized='incremental', unique_key='device', event_time='began_at') }}
select device, max(began_at) as began_at from {{ ref('besuche') }}
where cast(began_at as date) <= cast('{{ var("ds") }}' as date)
group by device
