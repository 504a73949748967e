select 1 as id, 'north' as station, 11 as celsius
union all
select 2 as id, 'south' as station, 17 as celsius
union all
select 3 as id, 'south' as station, 19 as celsius
