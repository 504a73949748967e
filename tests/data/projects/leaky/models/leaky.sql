{# A project may do this, by mistake or not: the password must not leave the pod in spite of it. #}
{{ log("the password is " ~ env_var("DB_PASSWORD"), info=true) }}
select 1 as id -- {{ env_var("DB_PASSWORD") }}
