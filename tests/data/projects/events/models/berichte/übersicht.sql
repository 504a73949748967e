select growth.mehr, best.name
from {{ ref('wachstum') }} as growth cross join {{ ref('beste_geräte') }} as best
