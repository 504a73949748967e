"""Gives a generated project what real ones have: a package of many macros that ask for dbt's flags,
most of them only when they run; dispatch, hooks, generic tests, and models that call all of that.

Nothing of it is anybody's: the names and bodies are made up, the shape is that of the packages that
most projects use.
"""

from __future__ import annotations

from collections.abc import Iterator

MACROS = 300
A_FILE = 10  # macros in it
PACKAGE = "dbt_packages/toolkit"

_HOOKS = """
on-run-start: ["{{ toolkit.log_start() }}"]
on-run-end: ["{{ toolkit.log_end(results) }}"]
vars:
  toolkit_dispatch: [bench]
"""

_LOGGING = """\
{% macro log_start() %}
{% if execute and flags.WHICH in ('run', 'build', 'test') %}
  select '{{ invocation_id }}' as run, '{{ run_started_at }}' as started
{% endif %}
{% endmacro %}

{% macro log_end(results) %}
{% if execute and flags.WHICH in ('run', 'build') and not flags.FULL_REFRESH %}
  select {{ results | length }} as nodes, '{{ modules.datetime.datetime.utcnow() }}' as ended
{% endif %}
{% endmacro %}

{% macro is_in_bulk() %}
{% if not execute %}{{ return(false) }}{% endif %}
{{ return(flags.FULL_REFRESH or flags.WHICH == 'seed') }}
{% endmacro %}

{% macro day() %}'{{ var('ds', '2025-01-01') }}'{% endmacro %}

{% test small(model, column_name, limit) %}
select {{ column_name }} from {{ model }} where {{ column_name }} > {{ limit }}
{% if execute and flags.STORE_FAILURES %} order by 1 {% endif %}
{% endtest %}
"""

_MACRO = """\
{{% macro part_{number}(expression) %}}
{{{{ return(adapter.dispatch('part_{number}', 'toolkit')(expression)) }}}}
{{% endmacro %}}

{{% macro default__part_{number}(expression) %}}
{{% if execute and flags.WHICH == 'compile' %}}{{% do log('part_{number}') %}}{{% endif %}}
{{% set bulk = toolkit.is_in_bulk() %}}
coalesce({{{{ expression }}}}, {number}) {{{{ '' if bulk else '' }}}}
{{% endmacro %}}

"""


def list_files() -> Iterator[tuple[str, str]]:
    """The package's files, by path."""
    yield "packages.yml", f"packages: [{{local: {PACKAGE}}}]\n"
    yield f"{PACKAGE}/dbt_project.yml", 'name: toolkit\nversion: "1.0.0"\nconfig-version: 2\n'
    yield f"{PACKAGE}/macros/logging.sql", _LOGGING
    for first in range(0, MACROS, A_FILE):
        numbers = range(first, first + A_FILE)
        text = "".join(_MACRO.format(number=number) for number in numbers)
        yield f"{PACKAGE}/macros/parts_{first:03d}.sql", text


def add_packages(files: dict[str, str]) -> dict[str, str]:
    """A project's files, with the package and with its use in every model.

    A var that is another every night is shown in the SQL of the models, where its value takes no
    part in parsing.
    """
    found = dict(files)
    for number, name in enumerate(name for name in files if name.startswith("models/")):
        if name.endswith(".sql"):
            found[name] += (
                f"-- {{{{ toolkit.part_{number % MACROS}('amount') }}}} as of {{{{ var('ds') }}}}\n"
            )
        else:
            found[name] = found[name].replace(
                "data_tests: [unique, not_null]",
                "data_tests: [unique, not_null, {toolkit.small: {arguments: {limit: 1000000}}}]",
            )
    found["dbt_project.yml"] += _HOOKS
    return found | dict(list_files())
