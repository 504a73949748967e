{% macro note_start() %}
  {%- do log("begins at " ~ run_started_at ~ " for " ~ env_var('APP_OWNER', 'nobody')) -%}
{% endmacro %}

{% macro count_to_pager(results) %}
  {%- if execute and env_var('APP_STATE', 'green') == 'failing' and flags.WHICH == 'build' %}
  insert into {{ target.schema }}_landing.pager values ({{ results | length }})
  {%- endif %}
{% endmacro %}

{% macro leave_comment(results) %}
  {%- if flags.WHICH == 'build' -%} select {{ results | length }} as results {%- endif -%}
{% endmacro %}
