select today.besuche - before.besuche as mehr
from {{ ref('heute') }} as today cross join {{ ref('gestern') }} as before
