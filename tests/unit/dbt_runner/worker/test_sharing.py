"""Which windows may share a parse: what is known to be harmless, and everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbt_protocol.plans import RunPlan, Step, Window
from dbt_runner.worker.sharing import baked, code, differing, obstacle

PLAIN = "select '{{ var('ds') }}' as ds"
VARS = '{"ds":"$(window.start)","region":"emea"}'


def plan(project: Path, *words: str) -> RunPlan:
    argv = ["build", *(words or ("--vars", VARS))]
    window = Window("a", {"window.start": "2024-01-01"})
    return RunPlan(
        "ns",
        "run",
        "uid",
        1,
        str(project),
        "prod",
        [Step("1-build", "build", argv)],
        windows=[window],
    )


def found(project: Path, files: dict[str, str], *words: str) -> str:
    for name, text in files.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return obstacle(plan(project, *words), code(project))


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        'select {{ var("ds", "2024-01-01") | upper }} as day',
        "select {{- var('ds', none) | default('x', true) | trim -}}",
        (
            "{{ config(alias='x') }} select 1 {% if is_incremental() %} where d > '{{ var('ds') }}' {% "
            "endif %}"
        ),
        "{% set limit = 7 %}{% for n in range(3) %} union select '{{ var('ds') }}' {% endfor %}",
        (
            "{% snapshot s %}{{ config(unique_key='id') }} select '{{ var('ds') }}' as id {% "
            "endsnapshot %}"
        ),
        "{% set day = var('ds') | trim %} select '{{ day }}' union select {{ day | upper }}, day",
        "{# ref(var('ds')) #} select ds from {{ ref('orders') }} where ds = '{{ var('ds') }}'",
        "{% raw %}{{ config(alias=var('ds')) }}{% endraw %}",
        "select * from {{ ref(var('region')) }}",
        "select '{{ var('dst') }}', ads",
        "{{ config(unique_key='ds') }} select '{{ var('ds') }}' as ds",
        "select '{{ my_macro('ds') }}'",  # its definition is looked at for itself
    ],
)
def test_what_stands_for_itself_is_harmless(tmp_path: Path, text: str) -> None:
    assert found(tmp_path, {"models/m.sql": text}) == ""


@pytest.mark.parametrize(
    "text",
    [
        "{{ config(alias='x_' ~ var('ds')) }} select 1",
        "{{ config(enabled=var('ds') != '2024-01-03') }} select 1",
        "{% if var('ds') == '2024-01-03' %}{{ ref('other') }}{% endif %}",
        "select * from {{ ref('orders_' ~ var('ds')) }}",
        "select * from {{ source('raw', var('ds')) }}",
        "select '{{ my_macro(var('ds')) }}'",
        "select '{{ var('ds') ~ ref('other') }}'",
        "select '{{ var('ds', ref('other')) }}'",
        "select '{{ var('ds') | replace('a', ref('other')) }}'",
        "select '{{ ref('other') if var('ds') else 1 }}'",
        "{% set ds = var('ds') %}{{ config(alias=ds) }} select 1",
        "{% set day = var('ds') %}{{ config(alias=day) }} select 1",
        "{% set day = var('ds') %}{% if day == '2024-01-03' %}{{ ref('other') }}{% endif %}",
        "{% set day = var('ds') %}{% set other = day %}{{ config(alias=other) }}",
        "{% set other = 1 %}{% set other = var('ds') %}{{ config(alias=other) }}",
        "{% set x.day = var('ds') %}{{ config(alias=x.day) }}",
        "{% set day, other = var('ds'), 1 %}{{ config(alias=day) }}",
        "{% set ref = var('ds') %}{{ ref('other') }}",
        "{% set name = 'ds' %}{{ config(alias=var(name)) }} select 1",
        "{% set name %}x_{{ var('ds') }}{% endset %}{{ config(alias=name) }} select 1",
        (
            "{% set name | replace(old='a', new='b') %}{{ var('ds') }}{% endset %}{{ "
            "config(alias=name) }}"
        ),
        "{% call statement('x') %}select '{{ var('ds') }}'{% endcall %}",
        "{% filter upper %}{{ var('ds') }}{% endfilter %}",
        "{{ config(pre_hook=\"insert into log values ('{{ var('ds') }}')\") }} select 1",
        "{% macro day() %}{{ var('ds') }}{% endmacro %}",
        "{% test recent(model) %}select 1 where '{{ var('ds') }}' > ''{% endtest %}",
        "{{ var('ds') }",
        "select {{ var('ds') ",
    ],
)
def test_anything_else_is_not(tmp_path: Path, text: str) -> None:
    assert found(tmp_path, {"models/ok.sql": PLAIN, "models/m.sql": text}).startswith(
        "models/m.sql "
    )


@pytest.mark.parametrize(
    "text",
    [
        "{{ config(alias=var(name)) }}",
        "{{ config(alias=var('d' ~ 's')) }}",
        "{{ config(alias=var('d' 's')) }}",
        "{{ config(alias=var('d\\x73')) }}",
        "{% set v = var %}{{ config(alias=v('d' ~ 's')) }}",
        "{{ config(alias=builtins['var']('d' ~ 's')) }}",
        "{{ config(alias=context['v' ~ 'ar']('d' ~ 's')) }}",
        "{% macro day(name) %}{{ return(var(name)) }}{% endmacro %}",
        "{{ config(pre_hook=\"{{ log(var('d' ~ 's')) }}\") }} select 1",
    ],
)
def test_a_var_whose_name_is_not_to_be_seen_is_an_obstacle(tmp_path: Path, text: str) -> None:
    assert "does not tell the name" in found(
        tmp_path, {"models/ok.sql": PLAIN, "macros/m.sql": text}
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dbt_project.yml", "models: {+schema: \"{{ var('ds') }}\"}"),
        ("dbt_project.yml", "on-run-start: [\"insert into log values ('{{ var('d' ~ 's') }}')\"]"),
        ("models/schema.yml", "models: [{name: orders, config: {alias: \"{{ var('ds') }}\"}}]"),
        ("models/escaped.yml", 'models: [{name: orders, config: {alias: "{{ var(\\"ds\\") }}"}}]'),
        ("models/doubled.yml", "models: [{name: orders, config: {alias: '{{ var(''ds'') }}'}}]"),
        ("selectors.yml", "selectors: [{name: x, definition: \"{{ var(env_var('NAME')) }}\"}]"),
        ("models/m.py", "def model(dbt, session):\n    return dbt.config.get('ds')"),
        ("dbt_packages/other/macros/day.sql", "{% macro day() %}{{ var('ds') }}{% endmacro %}"),
    ],
)
def test_other_files_must_not_mention_it(tmp_path: Path, name: str, text: str) -> None:
    assert found(tmp_path, {"models/ok.sql": PLAIN, name: text}).startswith(f"{name} ")


def test_a_file_that_speaks_of_other_vars_is_no_obstacle(tmp_path: Path) -> None:
    files = {
        "dbt_project.yml": "models: {+schema: \"{{ var('region') }}\"}\nvars: {other: 1}",
        "macros/day.sql": "{% macro region() %}{{ var('region', 'x') }}{% endmacro %}",
        "models/schema.yml": "models: [{name: orders, columns: [{name: ds}]}]\nvars: {ds: 1}",
        "macros/other.sql": "{% macro other(ds) %}{# ds #}{{ ds }}{% endmacro %}",
        "README.md": "ds",
        "seeds/ds.csv": "ds",
        ".git/config.yml": "ds",
    }
    assert found(tmp_path, files) == ""


def test_packages_that_are_linked_into_the_project_are_read(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local/m.sql").write_text("{% macro day() %}{{ var('ds') }}{% endmacro %}")
    (tmp_path / "project/dbt_packages").mkdir(parents=True)
    (tmp_path / "project/dbt_packages/local").symlink_to(tmp_path / "local")
    (tmp_path / "local/loop").symlink_to(tmp_path / "project")
    assert found(tmp_path / "project", {}).startswith("dbt_packages/local/m.sql mentions ds")


def test_what_cannot_be_read_is_an_obstacle(tmp_path: Path) -> None:
    (tmp_path / "m.sql").write_bytes(b"\xff\xfe")
    assert "cannot be read" in found(tmp_path, {})
    assert "cannot be read" in obstacle(plan(tmp_path), [tmp_path / "gone.sql"])


@pytest.mark.parametrize(
    ("words", "names", "why"),
    [
        (["--select", "tag:$(window.key)", "--event-time-start", "$(window.start)"], set(), ""),
        (["--vars", '{"a":{"b":["$(x)"]},"c":"1"}'], {"a"}, ""),
        (['--vars={"a":"$(x)"}'], {"a"}, ""),
        (["--vars", '{"$(x)":"1"}'], set(), "the vars of step 1-build cannot be told apart"),
        (["--vars", "a: $(x)"], set(), "the vars of step 1-build cannot be told apart"),
        (["--target", "$(x)"], set(), "windows differ in --target of step 1-build"),
        (["--full-refresh"], set(), ""),
    ],
)
def test_what_windows_differ_in(
    tmp_path: Path, words: list[str], names: set[str], why: str
) -> None:
    assert differing(plan(tmp_path, *words)) == (names, why)


def test_windows_that_differ_in_no_var_need_not_be_looked_at(tmp_path: Path) -> None:
    assert (
        found(
            tmp_path,
            {"models/m.sql": "{{ config(alias=var(name)) }}"},
            "--event-time-start",
            "$(x)",
        )
        == ""
    )


def why_baked(project: Path, name: str, text: str, *asked: str) -> str:
    (project / name).write_text(text)
    return baked(asked, code(project))


@pytest.mark.parametrize(
    "text",
    [
        "select '{{ run_started_at }}' as at",
        "select '{{ run_started_at.strftime('%Y-%m-%d') | upper }}' as at, run_started_at from t",
        (
            "{{ config(alias='x') }} select 1 {% if is_incremental() %} where t < '{{ run_started_at "
            "}}' {% endif %}"
        ),
        "{# {{ config(alias=run_started_at) }} #} select '{{ run_started_at.date().isoformat() }}'",
    ],
)
def test_a_value_of_the_invocation_may_be_shown(tmp_path: Path, text: str) -> None:
    assert why_baked(tmp_path, "model.sql", text, "run_started_at") == ""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("model.sql", "{{ config(alias='x_' ~ run_started_at) }} select 1"),
        ("model.sql", "{{ ref(run_started_at.strftime('%A')) }}"),
        ("model.sql", "{% if run_started_at.hour > 3 %} {{ ref('a') }} {% endif %}"),
        ("model.sql", "{% set at = run_started_at %} select '{{ at }}'"),
        ("model.sql", "{% set at %}{{ run_started_at }}{% endset %} {{ config(alias=at) }}"),
        ("model.sql", "{% macro m() %}{{ run_started_at }}{% endmacro %}"),
        ("model.sql", "select '{{ run_started_at.strftime(var('format')) }}'"),
        ("model.sql", "{{ config(pre_hook='insert {{ run_started_at }}') }} select 1"),
        ("model.sql", "select {{ run_started_at"),
        ("models.yml", "alias: '{{ run_started_at }}'"),
    ],
)
def test_anything_else_may_be_in_what_was_parsed(tmp_path: Path, name: str, text: str) -> None:
    assert why_baked(tmp_path, name, text, "run_started_at") != ""


def test_what_nobody_is_seen_to_ask_for_may_be_anywhere(tmp_path: Path) -> None:
    assert why_baked(tmp_path, "model.sql", "select 1", "run_started_at") != ""
    assert why_baked(tmp_path, "model.sql", "{{ modules.re }}", "modules") != ""
    assert why_baked(tmp_path, "model.sql", "select 1") == ""
