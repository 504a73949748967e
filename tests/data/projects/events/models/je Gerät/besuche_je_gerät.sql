select device, cast(began_at as date) as day_on, count(*) as besuche, sum(seconds) as seconds
from {{ ref('besuche') }}
group by device, cast(began_at as date)
