{{ config(alias='stores') }}
select store_id, town, opened_on, is_online from {{ ref('stg_stores') }}
