select store_id, town, opened_on, town = 'online' as is_online from {{ ref('raw_stores') }}
