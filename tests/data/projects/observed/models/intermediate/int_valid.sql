select readings.reading_id, readings.station_id, readings.measured_at, readings.celsius
from {{ ref('stg_readings') }} as readings
join {{ ref('stg_limits') }} as limits on limits.station_id = readings.station_id
where readings.celsius between limits.lowest and limits.highest
