select town, highest from {{ ref('agg_towns') }} where highest > 10
