-- Fails for the days that somebody has put into broken_days, until they are taken out again.
select daily.day
from {{ ref('daily') }} as daily
inner join {{ source('control', 'broken_days') }} as broken_days on broken_days.day = daily.day
where daily.day = '{{ var("ds") }}'
