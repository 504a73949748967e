-- Takes ten minutes or more, all of them in the warehouse, after measurements has been built.
{% if target.type == 'duckdb' %}
select sum(hash(a.i + b.i)) % 7 as celsius, min(station) as station
from {{ ref('measurements') }}, range(10000000) as a (i), range(10000000) as b (i)
{% else %}
select station, celsius, cast(pg_sleep(600) as varchar) as slept
from {{ ref('measurements') }}
limit 1
{% endif %}
