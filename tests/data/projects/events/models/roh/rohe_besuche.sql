{{ config(event_time='began_at') }}
select visit_id, began_at, device, seconds from {{ source('gelandet', 'visits') }}
