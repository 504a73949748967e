-- One row more for every window that gets here, committed before anything else of the window begins. It is never merged:
-- a window that is done twice has two.
{{ config(incremental_strategy='append', tags=['incremental']) }}
select
    '{{ var("ds") }}' as day,
    pg_backend_pid() as pid,
    clock_timestamp() as started_at
