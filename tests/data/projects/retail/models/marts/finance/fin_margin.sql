select town, amount - cost as margin from {{ ref('fin_revenue_by_store') }}
