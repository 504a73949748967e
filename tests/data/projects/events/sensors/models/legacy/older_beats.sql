select * from {{ ref('old_beats') }}
