select order_id, sum(paid) as paid, max(paid_on) as last_paid_on
from {{ ref('stg_payments') }}
group by order_id
