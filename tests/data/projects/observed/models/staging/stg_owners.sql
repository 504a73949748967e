select station_id, owner from {{ ref('owners') }}
