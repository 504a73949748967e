{{ config(alias='die Namen', event_time=none) }}
select id, name from {{ ref('rohe_geräte') }}
