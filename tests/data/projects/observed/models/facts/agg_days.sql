select station_id, cast(measured_at as date) as day_on, min(celsius) as lowest, max(celsius) as highest
from {{ ref('fct_readings') }}
group by station_id, cast(measured_at as date)
