-- Never ends in the first attempt of a run.
{% set marks %}
select count(*) from {{ target.schema }}.marks where run = '{{ env_var("DBT_ENV_CUSTOM_ENV_RUN_UID") }}'
{% endset %}
{% set size = 10000000 if execute and run_query(marks).rows[0][0] == 1 else 1 %}
select station, max(celsius) as celsius, sum(hash(a.id + b.id)) as work
from {{ ref('measurements') }}
cross join range(0, {{ size }}, 1, 1) as a
cross join range(0, {{ size }}, 1, 1) as b
group by station
