select town from {{ ref('dim_stations') }} where owner is null
