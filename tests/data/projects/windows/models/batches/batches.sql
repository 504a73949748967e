{{ config(
    materialized='incremental',
    incremental_strategy='microbatch',
    unique_key='id',
    event_time='at',
    batch_size='day',
    begin='2024-01-01'
) }}
select id, at, state
from {{ ref('readings') }}
