select count(*) as besuche from {{ ref('besuche') }}
