select id, "Name" as name from {{ ref('geräte') }}
