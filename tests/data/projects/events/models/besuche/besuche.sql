{{ config(
  materialized='incremental', incremental_strategy='microbatch', event_time='began_at',
  batch_size='day', begin='2024-01-01', lookback=1,
  unique_key='visit_id' if target.type == 'postgres' else none
) }}
select visit_id, began_at, device, cast(seconds as integer) as seconds from {{ ref('rohe_besuche') }}
