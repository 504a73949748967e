"""What a template only shows, so that it may be another thing in another run."""

from __future__ import annotations

import pytest
from jinja2 import Environment, nodes

from dbt_runner.worker.invocation.shown import is_shown, mark_shown


def find_marks(text: str, name: str = "var") -> list[bool]:
    """Of each time that a name is asked for, whether it is only shown."""
    template = Environment(extensions=["jinja2.ext.do"]).parse(text)  # noqa: S701 - not rendered
    mark_shown(template)
    return [is_shown(each) for each in template.find_all(nodes.Name) if each.name == name]


@pytest.mark.parametrize(
    "text",
    [
        "select '{{ var('ds') }}' as ds",
        'select {{ var("ds", "2024-01-01") | upper }} as day',
        "select {{- var('ds', none) | default('x', true) | trim -}}",
        "{% if is_incremental() %} where d > '{{ var('ds') }}' {% endif %}",
        "{% if a %}{% elif b %}{{ var('ds') }}{% else %}{{ var('ds', -1) }}{% endif %}",
        "{% for n in range(3) %} union select '{{ var('ds') }}' {% endfor %}",
        "{% set day = var('ds') | trim %} select '{{ day }}' union select {{ day | upper }}, day",
        "{% set limit = 7 %}{{ limit }}{{ \"'\" ~ var('ds') ~ \"'\" }}",
    ],
)
def test_what_stands_for_itself_is_shown(text: str) -> None:
    assert set(find_marks(text)) == {True}


@pytest.mark.parametrize(
    "text",
    [
        "{{ config(alias='x_' ~ var('ds')) }} select 1",
        "{% if var('ds') == '2024-01-03' %}{{ ref('other') }}{% endif %}",
        "{% for n in var('days') %}{{ n }}{% endfor %}",
        "select * from {{ ref('orders_' ~ var('ds')) }}",
        "select '{{ my_macro(var('ds')) }}'",
        "select '{{ var('ds') ~ ref('other') }}'",
        "select '{{ var('ds', ref('other')) }}'",
        "select '{{ var('ds') | replace('a', ref('other')) }}'",
        "select '{{ ref('other') if var('ds') else 1 }}'",
        "{{ var('ds').append(1) }}",
        "{% do var('ds') %}",
        "{{ var(*names) }}",
        "{{ var(name) }}",
        "{{ var }}",
        "{% set ds = var('ds') %}{{ config(alias=ds) }} select 1",
        "{% set day = var('ds') %}{% if day == '2024-01-03' %}{{ ref('other') }}{% endif %}",
        "{% set day = var('ds') %}{% set other = day %}{{ config(alias=other) }}",
        "{% set other = 1 %}{% set other = var('ds') %}{{ config(alias=other) }}",
        "{% set day = var('ds') %}{% macro m() %}{{ day }}{% endmacro %}",
        "{% set day = var('ds') %}{% for day in days %}{{ day }}{% endfor %}",
        "{% set x.day = var('ds') %}{{ config(alias=x.day) }}",
        "{% set day, other = var('ds'), 1 %}{{ config(alias=day) }}",
        "{% set ref = var('ds') %}{{ ref('other') }}",
        "{% set name %}x_{{ var('ds') }}{% endset %}{{ config(alias=name) }} select 1",
        "{% call statement('x') %}select '{{ var('ds') }}'{% endcall %}",
        "{% filter upper %}{{ var('ds') }}{% endfilter %}",
        "{% for n in tree recursive %}{{ var('ds') }}{{ loop(n) }}{% endfor %}",
        "{% macro day() %}{{ var('ds') }}{% endmacro %}",
    ],
)
def test_anything_else_is_not(text: str) -> None:
    assert False in find_marks(text)


@pytest.mark.parametrize(
    "text",
    [
        "{{ run_started_at }}",
        "select '{{ run_started_at.strftime('%Y-%m-%d') | upper }}' as at, run_started_at from t",
        "{# {{ config(alias=run_started_at) }} #} '{{ run_started_at.date().isoformat() }}'",
        "{% set at = run_started_at.date() %} select '{{ at }}'",
    ],
)
def test_a_value_with_methods_may_be_shown(text: str) -> None:
    assert set(find_marks(text, "run_started_at")) == {True}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run_started_at", "{{ config(alias='x_' ~ run_started_at) }} select 1"),
        ("run_started_at", "{{ ref(run_started_at.strftime('%A')) }}"),
        ("run_started_at", "{% if run_started_at.hour > 3 %} {{ ref('a') }} {% endif %}"),
        ("run_started_at", "select '{{ run_started_at.strftime(var('format')) }}'"),
        ("run_started_at", "{{ run_started_at[key] }}"),
        ("flags", "{{ flags.update({}) }}"),
        ("context", "{{ context.run_started_at }}"),
    ],
)
def test_a_value_of_which_something_is_done_is_not(name: str, text: str) -> None:
    assert find_marks(text, name) == [False]
