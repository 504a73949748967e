select * from {{ ref('beats') }}, nowhere
