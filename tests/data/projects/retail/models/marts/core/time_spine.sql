select day_on as date_day from {{ ref('dim_days') }}
