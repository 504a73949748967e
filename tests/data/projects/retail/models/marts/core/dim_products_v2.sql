select product_id, name, kind, price, price - cost as margin from {{ ref('stg_products') }}
