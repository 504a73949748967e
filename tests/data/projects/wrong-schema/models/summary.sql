{{ config(schema='forbidden') }}

select count(*) as stations
from {{ ref('stations') }}
