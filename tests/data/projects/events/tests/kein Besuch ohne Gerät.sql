select device from {{ ref('letzte_besuche') }} where device not in (select id from {{ ref('geräte') }})
