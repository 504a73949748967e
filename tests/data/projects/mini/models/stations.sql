select
    station,
    max(celsius) as celsius
from {{ ref('measurements') }}
group by station
