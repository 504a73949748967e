select order_id, sum(amount) as amount, sum(cost) as cost, count(*) as lines
from {{ ref('int_line_amounts') }}
group by order_id
