{{ config(severity='warn', warn_if='>100', error_if='>1000') }}
select day_on from {{ ref('fct_daily_sales') }} where orders = 0
