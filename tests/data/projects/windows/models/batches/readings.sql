{{ config(materialized='view', event_time='at') }}
select
    n as id,
    timestamp '2024-01-01' + n * interval '6 hours' as at,
    'fresh' as state
from generate_series(0, 27) as n
