{{ config(materialized='view', post_hook=[]) }}
select unique_id, count(*) as times
from {{ ref('watch_results') }}
where status in ('error', 'fail')
group by unique_id
