{{ config(
    incremental_strategy='microbatch',
    event_time='measured_at',
    batch_size='hour',
    begin='2024-01-01',
    unique_key='id',
    tags=['microbatch']
) }}
select id, measured_at, celsius
from {{ source('control', 'readings') }}
