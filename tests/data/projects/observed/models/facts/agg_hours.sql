select station_id, hour_at, celsius from {{ ref('int_hours') }}
