select peaks.besuche, beats.times
from {{ ref('spitzen') }} as peaks cross join {{ ref('herzschlag') }} as beats
