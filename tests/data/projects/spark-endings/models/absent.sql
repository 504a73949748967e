-- The name of the table is no reason to try again.
select * from {{ target.schema }}.connection_refused
