{% test dauert_nicht_zu_lange(model) %}
{{ config(severity='warn') }}
select visit_id from {{ model }} where seconds > 3600
{% endtest %}

{% test dauert_etwas(model) %}
select visit_id from {{ model }} where seconds < 0
{% endtest %}
