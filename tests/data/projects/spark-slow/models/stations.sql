-- Takes days, all of them in the server, after measurements has been built.
select station, max(celsius) as celsius, sum(hash(a.id + b.id)) as work
from {{ ref('measurements') }}
cross join range(0, 10000000, 1, 1) as a
cross join range(0, 10000000, 1, 1) as b
group by station
