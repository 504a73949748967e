{{ config(severity='error', error_if='>20', warn_if='>5', limit=50) }}
select station_id, day_on from {{ ref('rpt_swings') }} where swing > 11
