-- Keeps dbt itself busy for longer than anybody waits, in a thread that no signal reaches, after measurements has
-- been built.
{% if execute %}
    {{ log('busy from now on', info=true) }}
    {% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}
{% endif %}
select
    station,
    max(celsius) as celsius
from {{ ref('measurements') }}
group by station
