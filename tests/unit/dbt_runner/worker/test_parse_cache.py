"""What is parsed, by real dbt on DuckDB, is used by a command that would parse the same, and by no
other.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dbt_protocol.plans import Step
from dbt_runner import cache_files
from dbt_runner.worker import cache
from dbt_runner.worker.parse_reads import NO_FILE
from tests.support.pods import PROJECT, Ended, Pod, profile, step

pytestmark = pytest.mark.dbt_in_full
LIBRARY = {
    "packages.yml": "packages: [{local: ../library}]",
    "../library/dbt_project.yml": "name: library\nversion: '1.0'\n",
}
A, B = "model.shop.a", "model.shop.b"
TABLES = {
    "models/a.sql": "{{ config(materialized='table') }} select 1 as id",
    "models/b.sql": "{{ config(materialized='table') }} select 2 as id",
}


def run(
    root: Path, name: str, files: dict[str, str], *steps: Step, before: Ended | None = None
) -> Ended:
    """Run steps in a pod of its own, with what an earlier run has left; all pods of a root share
    the warehouse.
    """
    pod = Pod(root / name / "pod", files, profile(root / "warehouse.duckdb"))
    for folder in (pod.layout.cache, pod.layout.new_cache):
        folder.mkdir()
    if before is not None:
        shutil.copyfile(newest(before), cache_files.restored(pod.layout))
    cache_files.announce(pod.layout)
    ended = pod.run(*steps, cached=True, deps="IfMissing")
    assert ended.code == 0, ended.log
    return ended


def newest(ended: Ended) -> Path:
    """What the bucket has after a run: its own, or what was there before."""
    own = cache_files.stored(ended.layout)
    return own if own.exists() else cache_files.restored(ended.layout)


def index(ended: Ended) -> list[dict[str, Any]]:
    with zipfile.ZipFile(newest(ended)) as archive:
        found: list[dict[str, Any]] = json.loads(archive.read("parses.json"))
    return found


def reads(ended: Ended) -> dict[str, set[str]]:
    """The names that the newest parse has read, by file; those that all projects read are left
    out.
    """
    found = {
        file: {name for name in names if not name.startswith("target.")}
        for file, names in index(ended)[0]["reads"].items()
    }
    return {file.partition("://")[2]: names for file, names in found.items() if names}


def parses(ended: Ended) -> int:
    """How often a run has asked dbt to parse, be it what has changed only."""
    return len(list(ended.layout.parse.iterdir()))


def parents(ended: Ended, name: str, node: str) -> list[str]:
    found: list[str] = ended.artifact(f"{name}/manifest.json")["nodes"][node]["depends_on"]["nodes"]
    return found


# What is read

READERS = {
    **LIBRARY,
    **TABLES,
    "dbt_project.yml": PROJECT  # noqa: S608
    + """
models: {shop: {+meta: {debug: "{{ flags.DEBUG }}"}}}
on-run-start: ["{% if flags.STORE_FAILURES %}select 1 from {{ ref('a') }}{% endif %}"]
""",
    "macros/own.sql": """
{% macro add_ref() %}{% if flags.WHICH == 'run' %}{{ ref('a') }}{% endif %}{% endmacro %}
{% macro generate_schema_name(name, node) %}
{{ 'x' if node.name == 'by_schema' and flags.QUIET else target.schema }}
{% endmacro %}
{% macro pass_on(what) %}{{ return(what) }}{% endmacro %}
{% macro shadow(flags) %}{{ return(flags.WHICH) }}{% endmacro %}
{% macro show_var() %}'{{ var('ds') }}'{% endmacro %}
""",
    "../library/macros/dispatched.sql": """
{% macro dispatched() %}{{ return(adapter.dispatch('dispatched', 'library')()) }}{% endmacro %}
{% macro default__dispatched() %}{{ return(flags.EMPTY) }}{% endmacro %}
""",
    "tests/generic/by_flag.sql": """
{% test by_flag(model, limit) %}{{ config(severity='warn' if flags.FAIL_FAST else 'error') }}
select * from {{ model }} where {{ limit }} > 3{% endtest %}
""",
    "models/schema.yml": """
models: [{name: a, data_tests: [{by_flag: {arguments: {limit: "{{ var('limit', 1) }}"}}}]}]
""",
    "snapshots/history.sql": """
{% snapshot history %}{{ config(unique_key='id', strategy='check', check_cols='all',
target_schema='s' ~ (flags.PARTIAL_PARSE or '')) }} select * from {{ ref('a') }}{% endsnapshot %}
""",
    "models/by_body.sql": "select 1 as id {{ add_ref() }}",
    "models/by_dispatch.sql": "{{ config(tags=library.dispatched() ~ '') }} select 1 as id",
    "models/by_schema.sql": "select {{ 1 }} as id",
    "models/by_context.sql": "{% if context['flags'].WHICH %}{% endif %} select 1 as id",
    "models/by_builtins.sql": "{% set f = builtins.flags %} select 1 as id",
    "models/by_get.sql": "{% if invocation_args_dict.get('which') %}{% endif %} select 1 as id",
    "models/by_items.sql": "{% for key in invocation_args_dict.items() %}{% endfor %} select 1 as id",
    "models/by_item.sql": "{% set n = 'WHICH' %}{% if flags[n] %}{% endif %} select 1 as id",
    "models/by_filter.sql": "{% if flags | attr('WHICH') %}{% endif %} select 1 as id",
    "models/by_passing.sql": "{% if pass_on(flags).WHICH %}{% endif %} select 1 as id",
    "models/by_text.sql": "{% if 'x' in flags | string %}{% endif %} select 1 as id",
    "models/by_config.sql": "{% if adapter.config.args %}{% endif %} select 1 as id",
    "models/by_ref.sql": "{% if ref.config.cli_vars %}{% endif %} select 1 as id",
    "models/by_var.sql": "{% set v = builtins['var'] %}{% if v('d' ~ 's') %}{% endif %} select 1 as id",
    "models/by_has.sql": "{% if var.has_var('ds') %}{% endif %} select 1 as id",
    "models/by_macro.sql": "{{ config(alias='by_macro' ~ show_var()[:0]) }} select 1 as id",
    "models/by_render.sql": "{{ config(alias=render('x{{ var(\"ds\") }}')[:1]) }} select 1 as id",
    "models/by_hook.sql": "{{ config(post_hook=\"select '{{ var('ds') }}'\") }} select 1 as id",
    "models/unread.sql": "select '{{ var('ds') }}' as ds, '{{ flags.WHICH }}' as command,"
    " '{{ run_started_at }}' as started {% if execute and flags.FULL_REFRESH %}{% endif %}"
    "{% if shadow(dict(WHICH=1)) %}{% endif %}",
}


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    root = tmp_path_factory.mktemp("readers")
    never = ("models/by_config.sql", "models/by_ref.sql")
    files = {name: text for name, text in READERS.items() if name not in never}
    return run(root, "first", files, step("list", "--vars", '{"ds": "2024-01-01"}'))


@pytest.mark.dbt
@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("", {"flags.DEBUG", "flags.STORE_FAILURES"}),
        ("models/by_body.sql", {"flags.WHICH"}),
        ("models/by_dispatch.sql", {"flags.EMPTY"}),
        ("models/by_schema.sql", {"flags.QUIET"}),
        ("models/schema.yml", {"flags.FAIL_FAST", "var.limit"}),
        ("snapshots/history.sql", {"flags.PARTIAL_PARSE"}),
        ("models/by_context.sql", {"flags"}),
        ("models/by_builtins.sql", {"flags"}),
        ("models/by_get.sql", {"invocation_args_dict.which"}),
        ("models/by_items.sql", {"invocation_args_dict"}),
        ("models/by_item.sql", {"flags.WHICH"}),
        ("models/by_filter.sql", {"flags"}),
        ("models/by_passing.sql", {"flags"}),
        ("models/by_text.sql", {"flags"}),
        ("models/by_var.sql", {"var.ds"}),
        ("models/by_has.sql", {"var.ds"}),
        ("models/by_macro.sql", {"var.ds"}),
        ("models/by_render.sql", {"var.ds"}),
        ("models/by_hook.sql", None),
        ("models/unread.sql", None),
        ("models/a.sql", None),
        ("macros/own.sql", None),
    ],
)
def test_a_read_is_known_by_its_file(readers: Ended, file: str, names: set[str] | None) -> None:
    assert reads(readers).get(file) == names


@pytest.mark.parametrize("name", ["models/by_config.sql", "models/by_ref.sql"])
def test_who_gets_at_dbts_configuration_has_read_everything(tmp_path: Path, name: str) -> None:
    files = {**TABLES, name: READERS[name]}
    ended = run(tmp_path, "one", files, step("compile"), step("list"))
    assert parses(ended) == 2
    assert f"the parse is not kept for later runs: {name} asks for run_started_at" in ended.log
    assert not cache_files.stored(ended.layout).exists()


# Who may use it

BY_COMMAND = {
    "body": ("{{ add_ref() }}", ""),
    "condition": ("{% if flags.WHICH == 'compile' %}{{ ref('a') }}{% endif %}", ""),
    "arguments": ("{% if invocation_args_dict.which == 'compile' %}{{ ref('a') }}{% endif %}", ""),
    "context": ("{% if context['flags'].WHICH == 'compile' %}{{ ref('a') }}{% endif %}", ""),
    "text": ("{% if \"WHICH='compile'\" in flags | string %}{{ ref('a') }}{% endif %}", ""),
    "dispatch": ("{{ library.dispatched() }}", ""),
    "hook": ("", '{{ config(pre_hook="{{ add_ref() }}") }}'),
}
COMMANDED = {
    **LIBRARY,
    **TABLES,
    "macros/own.sql": """
{% macro add_ref() %}{% if flags.WHICH == 'compile' %}{{ ref('a') }}{% endif %}{% endmacro %}
""",
    "../library/macros/dispatched.sql": """
{% macro dispatched() %}{{ adapter.dispatch('dispatched', 'library')() }}{% endmacro %}
{% macro default__dispatched() %}
{% if flags.WHICH == 'compile' %}{{ ref('a') }}{% endif %}
{% endmacro %}
""",
}


# That each of these reads is recorded is shown with every version, of one parse of them all; that a
# parse is kept from those who would read otherwise, with one of them and with the hook.
_WITH_EACH_VERSION = ("body", "hook")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.dbt] if kind in _WITH_EACH_VERSION else [])
        for kind in BY_COMMAND
    ],
)
def test_a_command_that_would_parse_otherwise_gets_a_parse_of_its_own(
    tmp_path: Path, kind: str
) -> None:
    body, config = BY_COMMAND[kind]
    files = {**COMMANDED, "models/c.sql": f"{config} select 1 as id -- {body}"}
    first = run(tmp_path, "first", files, step("compile"), step("docs"), step("run"))
    assert parents(first, "compile", "model.shop.c") == [A]
    assert parents(first, "docs", "model.shop.c") == []
    assert parents(first, "run", "model.shop.c") == []
    assert parses(first) == 3
    second = run(tmp_path, "second", files, step("docs"), step("compile"), before=first)
    assert parents(second, "compile", "model.shop.c") == [A]
    assert parents(second, "docs", "model.shop.c") == []


@pytest.mark.dbt
def test_a_step_that_leaves_no_manifest_has_that_of_its_own_parse(tmp_path: Path) -> None:
    files = {
        **COMMANDED,
        "models/c.sql": "{{ add_ref() }} select 1 as id",
        "macros/nothing.sql": "{% macro nothing() %}{% endmacro %}",
    }
    steps = [
        step("compile"),
        step("list"),
        step("runOperation", "nothing"),
        step("list", "--select", "a", name="again"),
    ]
    ended = run(tmp_path, "one", files, *steps)
    assert parses(ended) == 3
    assert parents(ended, "compile", "model.shop.c") == [A]
    for name in ("list", "runOperation", "again"):
        assert parents(ended, name, "model.shop.c") == []


PACKAGED = {
    **LIBRARY,
    **TABLES,
    "seeds/raw.csv": "id,loaded\n1,2024-01-01 00:00:00\n",
    "models/schema.yml": """
sources:
  - name: raw
    schema: analytics
    tables: [{name: raw, loaded_at_field: "loaded::timestamp", freshness: {warn_after: {count: 1, period: day}}}]
models: [{name: a, data_tests: [{library.small: {arguments: {column: id}}}]}]
""",
    "dbt_project.yml": PROJECT + 'on-run-end: ["{{ library.log_end() }}"]\n',
    "../library/macros/macros.sql": """
{% macro log_end() %}
{% if execute and flags.WHICH in ['run', 'build'] %}select '{{ run_started_at }}'{% endif %}
{% endmacro %}
{% macro now() %}{{ return(modules.datetime.datetime.now()) if execute else '' }}{% endmacro %}
{% test small(model, column) %}
select * from {{ model }} where {{ column }} > 9 {% if execute and flags.STORE_FAILURES %}{% endif %}
{% endtest %}
""",
    "models/c.sql": "select '{{ library.now() }}' as at, '{{ var('ds') }}' as ds"
    " from {{ ref('a') }}",
}


def nightly(ds: str) -> list[Step]:
    words = ("--vars", json.dumps({"ds": ds}))
    return [step(name, *words) for name in ("seed", "sourceFreshness", "build", "docs")]


@pytest.mark.dbt
def test_one_parse_does_for_all_steps_and_for_the_next_night(tmp_path: Path) -> None:
    first = run(tmp_path, "first", PACKAGED, *nightly("2024-01-01"))
    assert (parses(first), first.result["parse"]["cached"]) == (1, False)
    second = run(tmp_path, "second", PACKAGED, *nightly("2024-01-02"), before=first)
    assert (parses(second), second.result["parse"]["cached"]) == (1, True)
    assert not cache_files.stored(second.layout).exists(), "there is nothing new"
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as warehouse:
        assert warehouse.sql("select ds from analytics.c").fetchall() == [("2024-01-02",)]


def test_a_var_that_was_read_has_a_parse_for_each_of_its_values(tmp_path: Path) -> None:
    files = {
        **TABLES,
        "models/c.sql": "select * from {{ ref('a' if var('day') == 1 else 'b') }}",
        "models/d.sql": "{{ config(tags=[var('day') | string]) }} select 1 as id",
    }
    day = {number: step("compile", "--vars", f"{{day: {number}}}") for number in (1, 2)}
    first = run(tmp_path, "1", files, day[1])
    second = run(tmp_path, "2", files, day[2], before=first)
    assert not second.result["parse"]["cached"]
    assert "is used: models/c.sql asks for var('day') while it is parsed" in second.log
    third = run(tmp_path, "3", files, day[1], before=second)
    assert third.result["parse"]["cached"], "the parse of the first is still there"
    found = [parents(each, "compile", "model.shop.c") for each in (first, second, third)]
    assert found == [[A], [B], [A]]


def test_steps_with_other_vars_share_a_parse_that_has_not_read_them(tmp_path: Path) -> None:
    files = {"models/c.sql": "select '{{ var('ds') }}' as ds"}
    steps = [step("run", "--vars", f"{{ds: d{n}}}", name=f"run{n}") for n in (1, 2)]
    ended = run(tmp_path, "one", files, *steps)
    assert parses(ended) == 1
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as warehouse:
        assert warehouse.sql("select ds from analytics.c").fetchall() == [("d2",)]


def test_a_changed_or_removed_file_changes_its_own_reads_alone(tmp_path: Path) -> None:
    files = {
        **TABLES,
        "models/one.sql": "{% if flags.WHICH %}{% endif %} select 1 as id",
        "models/two.sql": "{% if flags.DEBUG %}{% endif %} select 1 as id",
        "models/three.sql": "{% if flags.QUIET %}{% endif %} select 1 as id",
        "models/schema.yml": "models: [{name: a, data_tests: [unique: {column_name: id}]}]",
    }
    first = run(tmp_path, "first", files, step("list"))
    kept = {"models/one.sql": {"flags.WHICH"}, "models/two.sql": {"flags.DEBUG"}}
    assert reads(first) == {**kept, "models/three.sql": {"flags.QUIET"}}
    changed = {
        **{name: text for name, text in files.items() if name != "models/three.sql"},
        "models/two.sql": "{% if flags.PRINTER_WIDTH %}{% endif %} select 1 as id",
        "models/schema.yml": """
models: [{name: a, data_tests: [unique: {column_name: id, config: {where: "1 = {{ 1 if flags.EMPTY else 1 }}"}}]}]
""",
    }
    second = run(tmp_path, "second", changed, step("list"), before=first)
    assert second.result["parse"]["cached"]
    assert reads(second) == {**kept, "models/two.sql": {"flags.PRINTER_WIDTH"}} | {
        "models/schema.yml": {"flags.EMPTY"}
    }
    assert len(index(second)) == 1, "it takes the place of what it has begun with"
    third = run(tmp_path, "third", changed, step("compile"), before=second)
    assert not third.result["parse"]["cached"], "what was not rendered anew counts as well"


def test_a_variable_that_dbt_does_not_compare_is_a_read(tmp_path: Path) -> None:
    """dbt compares those of files; hooks it does not render again."""
    hook = "on-run-start: [\"select 1 from {{ ref(env_var('WHICH_TABLE', 'a')) }}\"]\n"
    files = {**TABLES, "dbt_project.yml": PROJECT + hook}
    ended = run(tmp_path, "first", files, step("list"))
    assert reads(ended) == {NO_FILE: {"env_var.WHICH_TABLE"}}


def test_a_parse_of_another_image_is_not_used(tmp_path: Path) -> None:
    ended = run(tmp_path, "first", TABLES, step("list"))
    path = newest(ended)
    (entry,) = index(ended)
    with zipfile.ZipFile(path) as archive:
        parsed = archive.read(entry["parsed"])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("parses.json", json.dumps([{**entry, "image": "dbt:2"}]))
        archive.writestr(entry["parsed"], parsed)
    second = run(tmp_path, "second", TABLES, step("list"), before=ended)
    assert not second.result["parse"]["cached"]
    assert [each["image"] for each in index(second)] == ["", "dbt:2"], "both are kept"


def test_the_parse_that_was_not_used_for_longest_goes(tmp_path: Path) -> None:
    """Each has read another value of the var."""
    files = {"models/c.sql": "{{ config(tags=[var('n') | string]) }} select 1 as id"}

    def of(number: int) -> Step:
        return step("list", "--vars", f"{{n: {number}}}", name=f"n{number}")

    full = run(tmp_path, "full", files, *[of(number) for number in range(cache.KEPT)])
    assert len(index(full)) == cache.KEPT
    oldest = index(full)[-1]["parsed"]
    again = run(tmp_path, "again", files, of(cache.KEPT - 1), before=full)
    assert index(again)[0]["parsed"] == oldest, "what is about to go and is used comes first"
    more = run(tmp_path, "more", files, of(cache.KEPT), before=again)
    names = [each["parsed"] for each in index(more)]
    assert (len(names), names[1]) == (cache.KEPT, oldest)
    assert index(again)[-1]["parsed"] not in names
