select days.day_on, coalesce(sum(visits.besuche), 0) as besuche
from {{ ref('tage') }} as days
left join {{ ref('besuche_je_gerät') }} as visits on visits.day_on = days.day_on
group by days.day_on
