-- A key that is null fails a test, so nothing downstream may be built.
select 1 as id, 'north' as station, 11 as celsius
union all
select null as id, 'south' as station, 17 as celsius
