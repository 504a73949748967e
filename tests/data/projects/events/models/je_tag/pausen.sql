{{ config(enabled=env_var('APP_PAUSES', 'off') == 'on') }}
select hour_at from {{ ref('stunden') }} where besuche = 0
