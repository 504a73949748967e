{{ config(materialized='view') }}
{{ tools.stack([ref('dim_products', v=1), ref('dim_products', v=2)], ['product_id', 'price']) }}
