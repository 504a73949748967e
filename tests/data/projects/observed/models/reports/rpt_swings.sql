select station_id, day_on, highest - lowest as swing from {{ ref('agg_days') }}
