select station_id, town from {{ source('landing', 'stations') }}
