{# As many projects have it: a custom schema is taken as it is, not put after the profile's. #}
{% macro generate_schema_name(custom_schema_name, node) %}
    {{ return(custom_schema_name or target.schema) }}
{% endmacro %}
