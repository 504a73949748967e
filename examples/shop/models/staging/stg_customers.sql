select
    customer_id,
    first_name || ' ' || last_name as customer_name,
    country_code,
    signed_up_at,
    newsletter as takes_newsletter
from {{ source('shop', 'customers') }}
