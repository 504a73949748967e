{{ config(materialized='incremental', incremental_strategy='append') }}
select line_key, order_id, line, product_id, quantity, amount from {{ ref('int_line_amounts') }}
{% if is_incremental() %}
where line_key not in (select line_key from {{ this }})
{% endif %}
