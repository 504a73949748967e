select station_id, {{ dbt.date_trunc('hour', 'measured_at') }} as hour_at, avg(celsius) as celsius
from {{ ref('int_valid') }}
group by station_id, {{ dbt.date_trunc('hour', 'measured_at') }}
