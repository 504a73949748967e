select station_id, lowest, highest from {{ ref('limits') }}
