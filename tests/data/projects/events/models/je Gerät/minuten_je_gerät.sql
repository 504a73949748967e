select device, day_on, {{ minutes('cast(seconds as integer)') }} as minutes
from {{ ref('besuche_je_gerät') }}
