-- Makes dbt itself hold 4 GiB, after measurements has been built. Nothing is held while the project is parsed.
{% if execute %}
    {% set hoard = [] %}
    {% for number in range(400) %}
        {% do hoard.append('x' * 10485760 ~ number) %}
    {% endfor %}
{% endif %}

select station, celsius
from {{ ref('measurements') }}
