-- The day's rows, deleted and inserted. It takes as long as the day is held.
-- depends_on: {{ ref('window_log') }}
{{ config(unique_key='day', tags=['incremental']) }}
select
    '{{ var("ds") }}' as day,
    pg_backend_pid() as pid
from {{ target.schema }}.hold('{{ var("ds") }}')
