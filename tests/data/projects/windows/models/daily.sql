-- The day's rows, deleted and inserted. It takes the seconds of the var sleep, and then as long as the day is held.
-- depends_on: {{ ref('window_log') }}
{{ config(unique_key='day', tags=['incremental']) }}
select
    '{{ var("ds") }}' as day,
    pg_backend_pid() as pid
from pg_sleep({{ var('sleep', 0) }}), {{ target.schema }}.hold('{{ var("ds") }}')
