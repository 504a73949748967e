{{ config(
  materialized='incremental', incremental_strategy='microbatch', event_time='began_at',
  batch_size='day', begin='2024-01-01', concurrent_batches=false,
  unique_key='visit_id' if target.type == 'postgres' else none
) }}
select visit_id, began_at, {{ minutes('seconds') }} as minutes from {{ ref('besuche') }}
where seconds > {{ env_var('APP_LONG', '59') }}
