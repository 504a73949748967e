-- Waits in the warehouse until there is a table `go` beside it, after measurements has been built. PostgreSQL only.
{{ config(pre_hook="
    do $$ begin
        while not exists (select 1 from pg_tables where tablename = 'go' and schemaname = '{{ this.schema }}') loop
            perform pg_sleep(0.1);
        end loop;
    end $$
") }}
select
    station,
    max(celsius) as celsius
from {{ ref('measurements') }}
group by station
