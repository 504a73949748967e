select beat + 1 as beat from {{ ref('beats') }}
