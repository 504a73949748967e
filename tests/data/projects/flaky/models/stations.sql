-- Divides by zero in the first attempt of a run, and by one in the second.
select
    station,
    max(celsius) as celsius,
    1 / (
        select count(*) - 1 from {{ target.schema }}.marks where run = '{{ env_var("DBT_ENV_CUSTOM_ENV_RUN_UID") }}'
    ) as attempts_before
from {{ ref('measurements') }}
group by station
