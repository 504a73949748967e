-- A day anew. It takes as long as the var says, but for the day that is broken, so that others are at work when it fails.
{{ config(unique_key='day', incremental_strategy='delete+insert') }}
select
    cast('{{ var("ds", "2000-01-01") }}' as date) as day,
    1 as amount
from pg_sleep(
    case
        when exists (select 1 from {{ target.schema }}.broken where day = '{{ var("ds", "2000-01-01") }}') then 0
        else {{ var('seconds', 0) }}
    end
)
