select day_on, besuche from {{ ref('besuche_je_tag') }}
where day_on = cast('{{ var("ds") }}' as date)
