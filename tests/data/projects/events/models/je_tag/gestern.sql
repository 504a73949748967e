{%- set day = modules.datetime.date.fromisoformat(var('ds')) - modules.datetime.timedelta(days=1) -%}
select day_on, besuche from {{ ref('besuche_je_tag') }}
where day_on = cast('{{ day }}' as date)
