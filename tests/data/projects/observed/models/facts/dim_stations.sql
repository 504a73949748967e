{{ config(meta={'owner': 'Kari'}) }}
select stations.station_id, stations.town, owners.owner, limits.lowest, limits.highest
from {{ ref('stg_stations') }} as stations
left join {{ ref('stg_owners') }} as owners on owners.station_id = stations.station_id
left join {{ ref('stg_limits') }} as limits on limits.station_id = stations.station_id
