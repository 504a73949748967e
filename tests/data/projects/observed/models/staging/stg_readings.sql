select reading_id, station_id, measured_at, celsius from {{ source('landing', 'readings') }}
