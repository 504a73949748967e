-- Fails for the days that somebody has put into broken_days, until they are taken out again.
select daily.ds
from {{ ref('daily') }} as daily
inner join {{ source('control', 'broken_days') }} as broken_days on broken_days.day = daily.ds
where daily.ds = '{{ var("ds") }}'
