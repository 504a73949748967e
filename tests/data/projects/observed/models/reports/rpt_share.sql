select count(*) as rejected from {{ ref('fct_rejected') }}
