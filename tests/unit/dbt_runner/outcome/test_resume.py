"""A second attempt with real dbt on DuckDB: only what is not done runs again, and the results are
merged.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dbt_runner import cache_files
from dbt_runner.layout import Layout
from dbt_runner.worker import cache
from tests.support.pods import PROJECT, Ended, Pod, profile, step

pytestmark = pytest.mark.dbt_in_full
FILES = {
    "models/first.sql": "{{ config(materialized='table') }} select 1 as id",
    # The second attempt finds what the first one missed.
    "models/second.sql": "select * from {{ env_var('TABLE_IN_TIME') }}",
    "models/third.sql": "select * from {{ ref('second') }}",
    "models/schema.yml": """
models:
  - {name: first, columns: [{name: id, data_tests: [not_null]}]}
  - {name: third, columns: [{name: id, data_tests: [not_null]}]}
""",
}
MISSING, THERE = "no_such_table", "(select 1 as id)"
# In the folder of the pods, and as it was when the first of them had ended.
WAREHOUSE, AFTER_FIRST = "warehouse.duckdb", "after-first.duckdb"
IMAGES_TIME = 1_000_000_000


class Attempts:
    """The pods of a run: each with the project and the warehouse, and what the one before left in
    the bucket. Of those before ``number`` nothing is left there.
    """

    def __init__(self, root: Path, files: dict[str, str], number: int = 0) -> None:
        self.root = root
        self.files = files
        self.number = number
        self.pod: Pod | None = None

    def run(self, *steps: Any, table: str = MISSING, **plan: Any) -> Ended:
        before, self.number = self.pod, self.number + 1
        self.pod = Pod(self.root / str(self.number), self.files, profile(self.root / WAREHOUSE))
        self.pod.env["TABLE_IN_TIME"] = table
        if before:
            shutil.copytree(before.layout.run, self.pod.layout.previous)
        return self.pod.run(*steps, attempt=self.number, resume=self.number - 1 or None, **plan)


def _folder(ended: Ended) -> Path:
    """Where the pods are of which this was one."""
    return Path(ended.layout.root).parent


def nodes(results: Any) -> dict[str, str]:
    return {row["unique_id"].split(".")[2]: row["status"] for row in results["results"]}


def merged(ended: Ended) -> dict[str, str]:
    return nodes(json.loads((ended.layout.run / "run_results.json").read_text()))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Ended]:
    attempts = Attempts(tmp_path_factory.mktemp("two"), FILES)
    steps = [step("seed", allow_empty=True), step("build"), step("docs", allow_failure=True)]
    first = attempts.run(*steps)
    shutil.copyfile(attempts.root / WAREHOUSE, attempts.root / AFTER_FIRST)
    return first, attempts.run(*steps, table=THERE)


@pytest.mark.dbt
def test_the_first_attempt_fails(two: tuple[Ended, Ended]) -> None:
    first, _ = two
    assert first.summary.reason == "ModelError"
    assert merged(first) == {
        "first": "success",
        "not_null_first_id": "pass",
        "second": "error",
        "third": "skipped",
        "not_null_third_id": "skipped",
    }


@pytest.mark.dbt
def test_the_second_runs_only_what_is_not_done(two: tuple[Ended, Ended]) -> None:
    _, second = two
    assert second.code == 0, second.log
    assert nodes(second.artifact("build/run_results.json")) == {
        "second": "success",
        "third": "success",
        "not_null_third_id": "pass",
    }
    assert "step seed succeeded in attempt 1" in second.log
    assert not (second.layout.artifacts / "seed").exists()
    assert second.step("docs")["state"] == "Succeeded"


def test_the_summary_speaks_of_all_attempts(two: tuple[Ended, Ended]) -> None:
    _, second = two
    assert (
        second.summary.nodes.total,
        second.summary.nodes.success,
        second.summary.nodes.passed,
    ) == (5, 3, 2)
    assert merged(second) == {
        "first": "success",
        "not_null_first_id": "pass",
        "second": "success",
        "third": "success",
        "not_null_third_id": "pass",
    }
    assert second.step("build")["attempt"] == 2


def test_the_state_is_of_the_whole_run(two: tuple[Ended, Ended]) -> None:
    _, second = two
    state = second.layout.new_state
    assert nodes(json.loads((state / "run_results.json").read_text())) == merged(second)
    assert "model.shop.first" in json.loads((state / "manifest.json").read_text())["nodes"]


def test_without_the_earlier_results_everything_runs_again(
    tmp_path: Path, two: tuple[Ended, Ended]
) -> None:
    first, _ = two
    shutil.copyfile(_folder(first) / AFTER_FIRST, tmp_path / WAREHOUSE)
    second = Attempts(tmp_path, FILES, number=1).run(step("build"), table=THERE)
    assert "everything runs again" in second.log
    assert len(nodes(second.artifact("build/run_results.json"))) == 5
    assert second.code == 0


def test_a_retry_under_warn_error_turns_no_failed_test_green(tmp_path: Path) -> None:
    warning = """
models:
  - name: first
    columns:
      - name: id
        data_tests:
          - accepted_values: {arguments: {values: [7]}, config: {severity: warn}}
"""
    files = {"models/first.sql": FILES["models/first.sql"], "models/schema.yml": warning}
    attempts = Attempts(tmp_path, files)
    for _ in range(3):
        ended = attempts.run(step("build", "--warn-error"))
        assert (ended.code, ended.summary.reason) == (1, "TestFailed")
        assert ended.summary.nodes.total == 2
    assert list(nodes(ended.artifact("build/run_results.json"))) == ["accepted_values_first_id__7"]


def test_after_a_failed_hook_everything_runs_again(tmp_path: Path) -> None:
    hook = "on-run-end: ['select * from {{ env_var(\"TABLE_IN_TIME\") }}']"
    files = {**FILES, "dbt_project.yml": PROJECT + hook}
    files["models/second.sql"] = "select 1 as id"
    attempts = Attempts(tmp_path, files)
    first = attempts.run(step("build"))
    assert first.summary.reason == "HookFailed", first.log
    second = attempts.run(step("build"), table=THERE)
    assert "HookFailed" in second.log
    assert set(merged(second)) < set(nodes(second.artifact("build/run_results.json"))), (
        "the hook comes on top"
    )
    assert second.code == 0


DAYS = """
select *, '{{ env_var("TABLE_IN_TIME") }}' as made_by,
  case when id = 2 then cast('{{ env_var("TABLE_IN_TIME") }}' as integer) end as number
from {{ ref('events') }}
"""


def batches_of_days(*argv: str) -> tuple[dict[str, str], list[Any]]:
    """A microbatch model with three batches, of which one needs a number."""
    config = (
        "{{ config(materialized='incremental', event_time='day', incremental_strategy='microbatch',"
        " batch_size='day', begin='2024-01-01') }}"
    )
    files = {
        "models/events.sql": "{{ config(event_time='day', materialized='table') }} select * from "
        "(values (timestamp '2024-01-01', 1), (timestamp '2024-01-02', 2),"
        " (timestamp '2024-01-03', 3)) as t(day, id)",
        "models/days.sql": f"{config} {DAYS}",
    }
    window = ["--event-time-start", "2024-01-01", "--event-time-end", "2024-01-04"]
    return files, [step("build", *window, *argv)]


@pytest.mark.dbt
@pytest.mark.parametrize(
    ("argv", "kept"), [((), "not a number"), (("--full-refresh",), "2")], ids=["some", "all"]
)
def test_only_the_batches_that_failed_run_again(
    tmp_path: Path, argv: tuple[str, ...], kept: str
) -> None:
    """All of them, where the first is to drop the table."""
    files, steps = batches_of_days(*argv)
    attempts = Attempts(tmp_path, files)
    first = attempts.run(*steps, table="not a number")
    assert first.summary.reason == "ModelError", first.log
    assert "PARTIAL SUCCESS (2/3)" in first.summary.message
    second = attempts.run(*steps, table="2")
    assert second.code == 0, second.log
    with duckdb.connect(str(tmp_path / WAREHOUSE), read_only=True) as connection:
        found = connection.sql("select id, made_by from analytics.days order by id").fetchall()
    assert found == [(1, kept), (2, "2"), (3, kept)]
    rows = json.loads((second.layout.run / "run_results.json").read_text())["results"]
    (days,) = (row["batch_results"] for row in rows if row["unique_id"].endswith("days"))
    assert (len(days["successful"]), days["failed"]) == (3, [])


# The parse cache


def parsed(
    root: Path, name: str, files: dict[str, str], before: Ended | None = None, mtime: float = 0
) -> Ended:
    pod = Pod(root / name, files, profile(root / WAREHOUSE))
    for folder in (pod.layout.cache, pod.layout.new_cache):
        folder.mkdir()
    if before and cache_files.stored(before.layout).exists():
        shutil.copyfile(cache_files.stored(before.layout), cache_files.restored(pod.layout))
    cache_files.announce(pod.layout)
    pod.env["TABLE_IN_TIME"] = THERE
    for path in pod.layout.project.rglob("*.yml"):
        os.utime(path, (1, mtime or path.stat().st_mtime))
    return pod.run(step("build"), cached=True)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A run that has kept its parse, of files as in an image: all of one time."""
    root = tmp_path_factory.mktemp("kept")
    ended = parsed(root, "first", FILES, mtime=IMAGES_TIME)
    shutil.copyfile(root / WAREHOUSE, root / AFTER_FIRST)
    return ended


@pytest.fixture
def first(kept: Ended) -> Ended:
    """That run, with the warehouse as it left it: those that come after it write there. It is no
    copy elsewhere, since another path would be another profile, for which dbt parses anew.
    """
    shutil.copyfile(_folder(kept) / AFTER_FIRST, _folder(kept) / WAREHOUSE)
    return kept


@pytest.mark.dbt
def test_an_unchanged_project_is_not_parsed_again(first: Ended) -> None:
    assert not first.result["parse"]["cached"]
    second = parsed(_folder(first), "unchanged", FILES, first)
    assert second.result["parse"]["cached"]
    assert not cache_files.stored(second.layout).exists(), "nothing has changed"
    assert second.summary == first.summary
    manifest = second.artifact("build/manifest.json")["metadata"]
    assert manifest["env"]["RUN_UID"] == "uid-1"
    assert (
        manifest["invocation_id"]
        == second.artifact("build/run_results.json")["metadata"]["invocation_id"]
    )


def test_what_has_changed_is_parsed_again(first: Ended) -> None:
    changed = {
        **FILES,
        "models/first.sql": "select 1 as id, 2 as other",
        "models/fourth.sql": "select 4 as four",
    }
    second = parsed(_folder(first), "changed", changed, first)
    assert second.result["parse"]["cached"]
    assert cache_files.stored(second.layout).exists()
    assert "model.shop.fourth" in second.artifact("build/manifest.json")["nodes"]
    with duckdb.connect(str(_folder(first) / WAREHOUSE)) as warehouse:
        assert warehouse.sql("select other from analytics.first").fetchall() == [(2,)]


def test_a_change_behind_the_time_of_modification_is_seen(first: Ended) -> None:
    """Images are built with one time for all files, and dbt reads no YAML file whose time is the
    one it knows.
    """
    changed = {
        **FILES,
        "models/schema.yml": (
            "models:\n  - {name: first, columns: [{name: id, data_tests: [unique]}]}\n"
        ),
    }
    second = parsed(_folder(first), "behind", changed, first, mtime=IMAGES_TIME)
    assert not second.result["parse"]["cached"]
    assert "unique_first_id" in merged(second)


def test_a_cache_that_holds_a_secret_is_not_stored(tmp_path: Path) -> None:
    pod = Pod(
        tmp_path / "pod",
        {**FILES, "models/first.sql": "select '{{ env_var(\"API_TOKEN\") }}' as id"},
    )
    for folder in (pod.layout.cache, pod.layout.new_cache):
        folder.mkdir()
    cache_files.announce(pod.layout)
    pod.env |= {"TABLE_IN_TIME": THERE, "API_TOKEN": "canary-4711-secret"}
    assert pod.run(step("build"), cached=True).code == 0
    assert not cache_files.stored(pod.layout).exists()


def test_a_parse_that_has_asked_for_a_secret_is_not_stored(tmp_path: Path) -> None:
    """Nothing of it is in the parse, but words could be tried on its digest."""
    hook = "{% if env_var('API_TOKEN') == 'x' %}select 1{% else %}select 2{% endif %}"
    files = {**FILES, "dbt_project.yml": f'{PROJECT}on-run-start: "{hook}"\n'}
    pod = Pod(tmp_path / "pod", files)
    for folder in (pod.layout.cache, pod.layout.new_cache):
        folder.mkdir()
    cache_files.announce(pod.layout)
    pod.env |= {"TABLE_IN_TIME": THERE, "API_TOKEN": "canary-4711-secret"}
    ended = pod.run(step("build"), cached=True)
    assert ended.code == 0, ended.log
    assert "asks for env_var('API_TOKEN') while it is parsed" in ended.log
    assert not cache_files.stored(pod.layout).exists()


OF_THE_MOMENT = {
    "models/counts.sql": (
        "{{ config(alias='counts_' ~ run_started_at.strftime('%H%M%S%f')) }} select 1 as id"
    )
}


def test_each_run_writes_the_table_of_its_own_time(tmp_path: Path) -> None:
    first = parsed(tmp_path, "first", OF_THE_MOMENT)
    assert not cache_files.stored(first.layout).exists()
    assert (
        "not kept for later runs: models/counts.sql asks for run_started_at while it is parsed"
        in first.log
    )
    second = parsed(tmp_path, "second", OF_THE_MOMENT, first)
    assert (second.code, second.result["parse"]["cached"]) == (0, False), second.log
    with duckdb.connect(str(tmp_path / WAREHOUSE)) as warehouse:
        assert len(warehouse.sql("select 1 from information_schema.tables").fetchall()) == 2


@pytest.mark.parametrize(
    "files",
    [
        {
            "models/one.sql": (
                "{{ config(alias='a_' ~ modules.datetime.datetime.now().second) }} select 1 as id"
            )
        },
        {"models/one.sql": "{{ config(enabled=invocation_id < '8') }} select 1 as id"},
        {
            "models/one.sql": (
                "{{ config(alias='a_' ~ context['run_started_at'].second) }} select 1 as id"
            )
        },
        {"models/one.sql": "{{ config(alias='a_' ~ ([1, 2, 3] | random)) }} select 1 as id"},
        {
            "dbt_project.yml": PROJECT
            + "models: {shop: {+alias: \"a_{{ run_started_at.strftime('%f') }}\"}}\n"
        },
        {
            "models/schema.yml": """
sources: [{name: raw, schema: analytics, tables: [{name: t, identifier: "t_{{ run_started_at.strftime('%f') }}"}]}]
"""
        },
        {
            "macros/names.sql": """
{% macro generate_alias_name(custom_alias_name=none, node=none) %}
{{ node.name ~ '_' ~ run_started_at.second }}
{% endmacro %}
"""
        },
    ],
    ids=["modules", "enabled", "context", "random", "project", "sources", "macro"],
)
def test_what_differs_from_run_to_run_is_not_cached(tmp_path: Path, files: dict[str, str]) -> None:
    pod = Pod(tmp_path / "pod", {"models/other.sql": "select 2 as id", **files})
    pod.layout.cache.mkdir()
    pod.layout.new_cache.mkdir()
    cache_files.announce(pod.layout)
    ended = pod.run(step("list"), cached=True)
    assert ended.code == 0, ended.log
    assert not cache_files.stored(pod.layout).exists()
    assert "the parse is not kept for later runs" in ended.log


SHOWN = {
    "models/audited.sql": """
{{ config(materialized='table') }}
select '{{ invocation_id }}' as run, '{{ run_started_at.strftime("%Y-%m-%d") }}' as day
""",
    "macros/unused.sql": "{% macro unused() %}{{ modules.datetime.datetime.now() }}{% endmacro %}",
}


def test_what_sql_only_shows_is_of_its_own_run_with_the_cache_of_another(tmp_path: Path) -> None:
    first = parsed(tmp_path, "first", SHOWN)
    second = parsed(tmp_path, "second", SHOWN, first)
    assert second.result["parse"]["cached"], first.log
    own = second.artifact("build/run_results.json")["metadata"]["invocation_id"]
    with duckdb.connect(str(tmp_path / WAREHOUSE)) as warehouse:
        assert warehouse.sql("select run from analytics.audited").fetchall() == [(own,)]


ENTRY: dict[str, Any] = {
    "parsed": "parsed",
    "image": "",
    "state": "",
    "files": {},
    "flags": {},
    "reads": {"file": {"flags.WHICH": "digest"}},
}


def write_archive(root: Path, content: bytes | dict[str, str]) -> Layout:
    layout = Layout(str(root))
    layout.cache.mkdir(parents=True)
    if isinstance(content, bytes):
        cache_files.restored(layout).write_bytes(content)
    else:
        with zipfile.ZipFile(cache_files.restored(layout), "w") as archive:
            for name, text in content.items():
                archive.writestr(name, text)
    (layout.cache / cache_files.READY).touch()
    return layout


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is broken"),
        (b"no archive", "it is broken"),
        ({"files-2.json": "{}", "partial_parse.msgpack": ""}, "another version of the runner"),
        ({"parses.json": "[{}]"}, "another version of the runner"),
        ({"parses.json": "{"}, "it is broken"),
        ({"parses.json": "[1]"}, "it is broken"),
        ({"parses.json": json.dumps([{**ENTRY, "reads": {"file": 1}}])}, "it is broken"),
        ({"parses.json": json.dumps([{**ENTRY, "files": []}])}, "it is broken"),
    ],
)
def test_parses_that_cannot_be_read_are_none_and_why_is_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes | dict[str, str],
    why: str,
) -> None:
    layout = write_archive(tmp_path, content)
    assert cache.unpack(layout, tmp_path) == []
    assert f"the parse of an earlier run is not used: {why}" in capsys.readouterr().out


@pytest.mark.parametrize("members", [{}, {"parsed": "no such thing"}])
def test_a_parse_that_is_broken_is_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], members: dict[str, str]
) -> None:
    layout = write_archive(tmp_path, {"parses.json": json.dumps([ENTRY]), **members})
    (found,) = cache.unpack(layout, tmp_path)
    assert found.record.reads == ENTRY["reads"]
    assert not found.extract(tmp_path / "partial_parse.msgpack")
    assert "the parse of an earlier run is not used: it is broken" in capsys.readouterr().out


def test_a_change_in_a_package_outside_of_the_project_is_seen(tmp_path: Path) -> None:
    """`dbt deps` links a local package, whose files have one time in an image."""
    project, package = tmp_path / "project", tmp_path / "package"
    for folder in (project / "dbt_packages", package):
        folder.mkdir(parents=True)
    (project / "dbt_packages/shared").symlink_to(package)
    (package / "schema.yml").write_text("models: []")
    assert list(cache.files(project)) == ["dbt_packages/shared/schema.yml"]
