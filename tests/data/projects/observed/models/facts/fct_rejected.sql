select reading_id, station_id from {{ ref('stg_readings') }}
where reading_id not in (select reading_id from {{ ref('int_valid') }})
