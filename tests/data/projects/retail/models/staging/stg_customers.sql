select
  customer_id, name, joined_on, email,
  case when '{{ var("state") }}' = 'green' then joined_on end as greeted_on
from {{ ref('raw_customers') }}
