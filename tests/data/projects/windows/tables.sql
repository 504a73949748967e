-- Everything that the windows of a backfill meet in PostgreSQL, in a schema of its own. The models' tables are there from
-- the start: two windows at a time must not both create one. Run by tests/support/backfills.py; dbt does not read it.
drop schema if exists {schema} cascade;
create schema {schema};

create table {schema}.window_log (day text, pid integer, started_at timestamptz);
create table {schema}.daily (day text, pid integer);
create table {schema}.readings_by_hour (id integer, measured_at timestamp, celsius integer);

-- Days whose test fails, for as long as they are in here.
create table {schema}.broken_days (day text);

-- Days whose query goes on for as long as they are in here.
create table {schema}.held_days (day text);
create function {schema}.hold(text) returns void language plpgsql as $$
begin
    while exists (select from {schema}.held_days where day = $1) loop
        perform pg_sleep(0.1);
    end loop;
end
$$;

-- One reading an hour, on the first four days of 2024.
create table {schema}.readings as
select
    n as id,
    timestamp '2024-01-01' + n * interval '1 hour' as measured_at,
    n % 30 as celsius
from generate_series(0, 95) as n;
