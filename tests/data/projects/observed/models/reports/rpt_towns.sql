{{ config(materialized='view') }}
select town, 'over {{ env_var("APP_LIMIT", "10") }}' as words from {{ ref('rpt_hottest') }}
