{{ config(
  materialized='incremental', incremental_strategy='microbatch', event_time='began_at',
  batch_size='day', begin='2024-01-01', unique_key='visit_id', concurrent_batches=false
) }}
select visit_id, began_at, {{ minutes('seconds') }} as minutes from {{ ref('besuche') }}
where seconds > {{ env_var('APP_LONG', '59') }}
