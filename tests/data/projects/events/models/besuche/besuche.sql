{{ config(
  materialized='incremental', incremental_strategy='microbatch', event_time='began_at',
  batch_size='day', begin='2024-01-01', unique_key='visit_id', lookback=1
) }}
select visit_id, began_at, device, cast(seconds as integer) as seconds from {{ ref('rohe_besuche') }}
