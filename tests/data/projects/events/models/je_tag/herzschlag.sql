select times from {{ ref('sensors', 'per_beat') }}
