select max(besuche) as besuche from {{ ref('stunden') }}
