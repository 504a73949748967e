select count(*) as stations
from {{ ref('stations') }}
