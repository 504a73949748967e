select beat, count(*) as times from {{ ref('beats') }} group by beat
