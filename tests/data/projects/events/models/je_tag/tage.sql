{{ config(materialized='ephemeral') }}
select distinct cast(began_at as date) as day_on from {{ ref('rohe_besuche') }}
