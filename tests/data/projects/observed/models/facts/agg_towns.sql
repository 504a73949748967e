select stations.town, max(days.highest) as highest
from {{ ref('dim_stations') }} as stations
join {{ ref('agg_days') }} as days on days.station_id = stations.station_id
group by stations.town
