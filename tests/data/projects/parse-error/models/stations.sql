select station
from {{ ref('absent') }}
