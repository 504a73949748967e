{#
  Stands in for the load tool, which writes down when it loaded a row. Seeds are files and cannot know: a time in the
  file would make the sources of this example grow stale.
#}
{% macro stamp_loaded_at() %}
update {{ this }}
set loaded_at = current_timestamp at time zone 'UTC'
{% endmacro %}
