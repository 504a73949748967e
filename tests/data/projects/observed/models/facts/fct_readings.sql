{{ config(materialized='incremental', unique_key='reading_id') }}
select reading_id, station_id, measured_at, celsius from {{ ref('int_valid') }}
{% if is_incremental() %}
where measured_at > (select max(measured_at) from {{ this }})
{% endif %}
