{{ config(materialized='incremental', incremental_strategy='append') }}
select {{ dbt.date_trunc('hour', 'began_at') }} as hour_at, count(*) as besuche
from {{ ref('rohe_besuche') }}
where cast(began_at as date) = cast('{{ var("ds") }}' as date)
group by {{ dbt.date_trunc('hour', 'began_at') }}
