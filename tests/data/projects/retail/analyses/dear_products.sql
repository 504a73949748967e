select name from {{ ref('dim_products', v=2) }} where price > 10
