select station_id, max(hour_at) as hour_at from {{ ref('agg_hours') }} group by station_id
