{{ config(tags=['incremental']) }}
select day
from {{ ref('daily') }}
where
    day = '{{ var("ds", "2000-01-01") }}'
    and day in (select broken.day from {{ target.schema }}.broken as broken)
