-- The station is not one of the accepted values, which is a warning.
select 1 as id, 'west' as station, 11 as celsius
union all
select 2 as id, 'south' as station, 17 as celsius
