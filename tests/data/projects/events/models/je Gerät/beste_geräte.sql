{{ config(event_time=none) }}
select names.name, sum(visits.besuche) as besuche
from {{ ref('besuche_je_gerät') }} as visits
join {{ ref('namen') }} as names on names.id = visits.device
group by names.name
