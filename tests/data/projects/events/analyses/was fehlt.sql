select name from {{ ref('namen') }} where id not in (select device from {{ ref('letzte_besuche') }})
