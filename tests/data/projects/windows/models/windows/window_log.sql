-- A row for each time that a window is worked through: nothing is ever replaced here.
{{ config(incremental_strategy='append') }}
select
    day,
    clock_timestamp() as at
from {{ ref('daily') }}
where day = '{{ var("ds", "2000-01-01") }}'
