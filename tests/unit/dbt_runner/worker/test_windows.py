"""Runs over windows with real dbt on DuckDB: each window by itself, and what is left when one of
them goes wrong.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dbt_protocol.plans import Step, Window
from dbt_protocol.summaries import Progress
from dbt_protocol.window_codes import reason_of
from dbt_runner import cache_files
from dbt_runner.layout import Layout
from dbt_runner.outcome.merge import RESULT
from tests.support.kube import PATIENCE, wait_for
from tests.support.pods import PROJECT, Ended, Pod, forked_child, profile, step, wait_for_query
from tests.support.sidecars import FakeStore, Sidecar

pytestmark = pytest.mark.dbt_in_full
DAYS = ("2024-01-01", "2024-01-02", "2024-01-03")
VARS = ("--vars", '{"ds":"$(window.start)"}')
DAY_TABLE = "{{ config(materialized='incremental') }} select '{{ var('ds') }}' as ds"
BAD_THIRD = "select ds from {{ ref('days') }} where ds = '{{ var('ds') }}' and ds >= '2024-01-03'"


def windows(*keys: str) -> list[Window]:
    return [Window(key, {"window.start": key, "window.key": key}) for key in keys or DAYS]


def rows(pod: Pod, table: str = "days", columns: str = "ds") -> list[Any]:
    with duckdb.connect(str(pod.database), read_only=True) as connection:
        return connection.table(f"analytics.{table}").project(columns).order("all").fetchall()


def states(ended: Ended) -> list[str]:
    return [window["state"] for window in ended.result["windows"]]


def windows_file(layout: Layout) -> str:
    return layout.windows.read_text() if layout.windows.exists() else ""


def wait_for_windows(pod: Pod, codes: str) -> None:
    wait_for(f"the windows {codes}", lambda: windows_file(pod.layout) == codes)


@pytest.fixture(scope="module")
def green(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pod, Ended]:
    files = {
        "models/days.sql": DAY_TABLE,
        "tests/one_day.sql": "select 1 from {{ ref('days') }} where ds is null",
    }
    pod = Pod(tmp_path_factory.mktemp("green") / "pod", files)
    for folder in (pod.layout.cache, pod.layout.new_cache):
        folder.mkdir()
    cache_files.announce(pod.layout)
    return pod, pod.run(step("build", *VARS), step("docs", *VARS), windows=windows(), cached=True)


@pytest.fixture(scope="module")
def seconds_of_a_pod(green: tuple[Pod, Ended]) -> float:
    """How long it takes to import dbt and to run six steps."""
    pod, _ = green
    return (
        pod.layout.result.stat().st_mtime - (pod.layout.profiles / "profiles.yml").stat().st_mtime
    )


@pytest.mark.dbt
def test_every_window_runs_with_its_own_values(green: tuple[Pod, Ended]) -> None:
    pod, ended = green
    assert (ended.code, ended.summary.reason, ended.summary.windows) == (0, "", "+++"), ended.log
    assert ended.summary.message == "3 of 3 windows succeeded"
    assert rows(pod) == [(day,) for day in DAYS]
    assert ended.summary.nodes.total == 6
    for day in DAYS:
        assert f'dbt build --vars \'{{"ds":"{day}"}}\'' in ended.log


@pytest.mark.dbt
def test_the_project_is_parsed_once(green: tuple[Pod, Ended]) -> None:
    _, ended = green
    assert ended.result["parse"] == {"count": 1, "obstacle": ""}
    assert ended.log.count("the windows share one parse") == 1
    assert ended.log.count("parsed in") == 1
    assert cache_files.stored(ended.layout).is_file(), "for later runs"


@pytest.mark.dbt
def test_every_window_has_its_own_artifacts(green: tuple[Pod, Ended]) -> None:
    pod, ended = green
    for day in DAYS:
        result = ended.artifact(f"{day}/result.json")
        assert (result["key"], result["state"], result["reason"], result["attempt"]) == (
            day,
            "Succeeded",
            "",
            1,
        )
        assert [each["state"] for each in result["steps"]] == ["Succeeded", "Succeeded"]
        run_results = ended.artifact(f"{day}/build/run_results.json")
        assert run_results["args"]["vars"] == {"ds": day}
        manifest = ended.artifact(f"{day}/build/manifest.json")["metadata"]
        assert manifest["invocation_id"] == run_results["metadata"]["invocation_id"]
        assert (pod.layout.artifacts / day / "docs/catalog.json").is_file()
    assert {path.name for path in pod.layout.artifacts.iterdir()} == {*DAYS, RESULT}
    assert [path.name for path in pod.layout.work.iterdir() if path.is_dir()] == [], (
        "what is over is cleared away"
    )


def test_the_runs_result_knows_every_window(green: tuple[Pod, Ended]) -> None:
    pod, ended = green
    document = json.loads((pod.layout.run / RESULT).read_text())
    assert document == ended.result
    assert document["codes"] == "+++"
    assert [window["key"] for window in document["windows"]] == list(DAYS)
    assert not pod.layout.new_state.exists(), "windows are nothing to compare with"
    assert windows_file(pod.layout) == "+++"


def test_the_sidecar_uploads_windows_as_folders(green: tuple[Pod, Ended]) -> None:
    pod, _ = green
    store = FakeStore()
    summary = Sidecar(pod.layout, lambda: store).end()
    assert (summary.windows, summary.error) == ("+++", "")
    for day in DAYS:
        assert f"runs/one/{day}/result.json" in store.objects
        assert f"runs/one/{day}/build/compiled.tar.gz" in store.objects
    assert {"runs/one/result.json", "runs/result.json"} < store.objects.keys()
    assert not [key for key in store.objects if "gpickle" in key or "/." in key]


# Failures


def test_after_a_failure_no_window_begins(tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", {"models/days.sql": DAY_TABLE, "tests/third.sql": BAD_THIRD})
    ended = pod.run(step("build", *VARS), windows=windows("2024-01-02", "2024-01-03", "2024-01-04"))
    assert (ended.code, ended.summary.reason, ended.summary.windows) == (1, "TestFailed", "+T-")
    assert ended.summary.message.startswith("window 2024-01-03: test.shop.third has status fail")
    assert states(ended) == ["Succeeded", "Failed", "Pending"]
    assert rows(pod) == [("2024-01-02",), ("2024-01-03",)]
    (failure,) = ended.summary.failures
    assert (failure.unique_id, failure.message.partition(":")[0]) == (
        "test.shop.third",
        "2024-01-03",
    )


def test_a_failure_may_leave_the_other_windows_alone(tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", {"models/days.sql": DAY_TABLE, "tests/third.sql": BAD_THIRD})
    keys = ("2024-01-02", "2024-01-03", "2024-01-04", "2024-01-01")
    ended = pod.run(
        step("build", *VARS), step("docs", *VARS), windows=windows(*keys), stop_on_failure=False
    )
    assert (ended.code, ended.summary.reason, ended.summary.windows) == (1, "TestFailed", "+TT+")
    assert ended.summary.message.startswith("window 2024-01-03: step build: test.shop.third")
    assert ended.last_line == (
        "dbt-operator: Failed (TestFailed): 2 nodes failed: 2024-01-03 test.shop.third, 2024-01-04 "
        "test.shop.third"
    )
    assert [each["state"] for each in ended.artifact("2024-01-03/result.json")["steps"]] == [
        "Failed",
        "Skipped",
    ]
    assert ended.summary.nodes.fail == 2
    assert rows(pod) == [(key,) for key in sorted(keys)]


def test_a_project_that_cannot_be_parsed_fails_every_window(tmp_path: Path) -> None:
    """The process that was to be shared has ended by then, so each begins with another."""
    pod = Pod(
        tmp_path / "pod", {"models/days.sql": "select * from {{ ref('nothing_of_that_name') }}"}
    )
    ended = pod.run(step("run", *VARS), windows=windows(*DAYS[:2]), stop_on_failure=False)
    assert (ended.code, ended.summary.reason, ended.summary.windows) == (2, "ParseError", "PP"), (
        ended.log
    )
    assert (pod.layout.artifacts / DAYS[1] / "run/dbt.log").is_file()


# Slow windows: a query that takes for ever in those of them that are told to.
STUCK = {
    "models/days.sql": (
        "{{ config(materialized='incremental', pre_hook='select 1') }} select '{{ var('ds') }}' as "
        "ds"
    ),
    "models/slow.sql": """
-- depends on: {{ ref('days') }}
{{ config(materialized='incremental') }}
select sum(hash(a.i + b.i)) as n from range({{ var('size') }}) as a (i), range({{ var('size') }}) as b (i)
""",
}
SIZE = ("--vars", '{"ds":"$(window.start)","size":"$(size)"}')


def sized(*sizes: int) -> list[Window]:
    return [
        Window(day, {"window.start": day, "size": str(size)})
        for day, size in zip(
            DAYS, sizes, strict=True
        )  # the runner has to do with 3.9, the tests have not
    ]


HUGE = 10**9


def in_second(pod: Pod, process: Any) -> list[Progress]:
    """Wait for the slow query of the second window."""
    return pod.watch(
        process, lambda seen: seen.windows.startswith("+>") and seen.running == ("model.shop.slow",)
    )


@pytest.mark.parametrize("victim", ["step", "zygote"])
def test_a_window_that_is_killed_takes_none_of_the_others_with_it(
    tmp_path: Path, victim: str
) -> None:
    pod = Pod(tmp_path / "pod", STUCK)
    process = pod.start(step("run", *SIZE), windows=sized(2, HUGE, 2), stop_on_failure=False)
    seen = in_second(pod, process)
    assert (seen[-1].done, seen[-1].total) == (1, 2), "of the window at work"
    zygote, child = forked_child(process.pid)
    os.kill(child if victim == "step" else zygote, signal.SIGKILL)
    ended = pod.finish(process)
    assert (ended.code, ended.summary.reason, ended.summary.windows) == (137, "Unknown", "+?+"), (
        ended.log
    )
    assert "window 2024-01-02: dbt was ended by SIGKILL" in ended.summary.message
    assert ended.result["parse"]["count"] == (1 if victim == "step" else 2)
    assert len(rows(pod, "slow", "n")) == 2
    assert ended.artifact("2024-01-02/result.json")["steps"][0]["exit_code"] == 137


def test_the_timeout_is_of_each_window(tmp_path: Path, seconds_of_a_pod: float) -> None:
    """Where each parses for itself, too: the interrupt meets the zygote of the window, which is a
    child.
    """
    parses = {
        **STUCK,
        "models/days.sql": "{% if var('ds') %}select '{{ var('ds') }}' as ds{% endif %}",
    }
    pod = Pod(tmp_path / "pod", parses)
    limit = max(20.0, 2 * seconds_of_a_pod)  # nobody knows how busy this machine is but by looking
    ended = pod.run(
        step("run", *SIZE), windows=sized(2, HUGE, 2), stop_on_failure=False, timeout_seconds=limit
    )
    assert (ended.summary.reason, ended.summary.windows) == ("Timeout", "+L+"), ended.log
    assert (
        "window 2024-01-02: the run ran longer than its timeout; 1 of 2 nodes had ended"
        in ended.summary.message
    )
    assert ended.result["parse"]["count"] == 3


def test_the_zygote_of_a_window_takes_its_window_along_and_no_more(tmp_path: Path) -> None:
    """What it had forked may not go on, or its reports would be taken for those of the next
    window.
    """
    about = "models: [{name: days, description: \"{{ var('ds') }}\"}]"
    pod = Pod(tmp_path / "pod", {**STUCK, "models/schema.yml": about})
    process = pod.start(step("run", *SIZE), windows=sized(2, HUGE, 2), stop_on_failure=False)
    in_second(pod, process)
    root, zygote = forked_child(process.pid)
    _, at_work = forked_child(root)
    os.kill(zygote, signal.SIGKILL)
    ended = pod.finish(process)
    assert (ended.summary.reason, ended.summary.windows) == ("Unknown", "+?+"), ended.log
    assert (
        "each window is parsed for itself: the project asks for var('ds') while it is parsed"
        in ended.log
    )
    assert ended.result["parse"]["count"] == 3
    assert not Path(f"/proc/{at_work}").exists()


def test_a_cancelled_run_begins_no_further_window(tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", STUCK)
    process = pod.start(step("run", *SIZE), windows=sized(2, HUGE, 2), stop_on_failure=False)
    in_second(pod, process)
    wait_for_query(process)
    process.send_signal(signal.SIGTERM)
    ended = pod.finish(process)
    assert (ended.summary.reason, ended.summary.windows) == ("Cancelled", "+X-"), ended.log
    assert states(ended) == ["Succeeded", "Failed", "Pending"]


def _codes(store: FakeStore) -> str:
    codes: str = json.loads(store.objects["runs/result.json"])["codes"]
    return codes


def test_what_is_known_survives_the_death_of_the_container(tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", STUCK)
    store = FakeStore()
    for folder in (pod.layout.cache, pod.layout.new_cache):
        folder.mkdir()
    steps = [step("run", "--select", "days", *SIZE, name="1-run"), step("run", *SIZE, name="2-run")]
    process = pod.start(*steps, windows=sized(2, HUGE, 2))
    sidecar = Sidecar(pod.layout, lambda: store)
    try:
        in_second(pod, process)
        store.wait_for("runs/one/2024-01-01/result.json")
        with store.arrived:  # again, since it has changed
            assert store.arrived.wait_for(lambda: _codes(store) == "+>-", PATIENCE)
        zygote, _ = forked_child(process.pid)
        process.kill()
        os.killpg(zygote, signal.SIGKILL)
        pod.finish(process)
        summary = sidecar.wait()
    finally:
        sidecar.stop.set()
    assert (summary.windows, summary.error) == ("+>-", "")
    assert "runs/one/2024-01-02/1-run/run_results.json" in store.objects, (
        "a step that had ended is complete"
    )
    assert "runs/one/2024-01-02/2-run/dbt.log" in store.objects
    assert "runs/one/2024-01-02/2-run/run_results.json" not in store.objects
    assert not (Path(pod.layout.root) / "dev/termination-log").exists()


# Stopping and going on


def test_a_run_that_is_asked_to_stop_begins_no_further_window(tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", {"models/days.sql": DAY_TABLE})
    pod.layout.stop.parent.mkdir()
    pod.layout.stop.write_text("someone of a higher priority")
    ended = pod.run(step("build", *VARS), windows=windows())
    assert (ended.code, ended.summary.reason, ended.summary.windows) == (1, "Yielded", "+--")
    assert (
        ended.summary.message == "asked to stop between two windows: 2 of 3 windows were not begun"
    )
    assert ended.last_line == f"dbt-operator: Stopped (Yielded): {ended.summary.message}"
    assert rows(pod) == [("2024-01-01",)]
    pod.layout.stop.write_text("")
    following = Pod(tmp_path / "next", pod.files, profile(pod.database))
    shutil.copytree(pod.layout.run, following.layout.previous)
    again = following.run(step("build", *VARS), windows=windows(), attempt=2, resume=1)
    assert (again.code, again.summary.windows) == (0, "+++"), again.log
    assert rows(pod) == [(day,) for day in DAYS], "the first ran only once"
    assert [window["attempt"] for window in again.result["windows"]] == [1, 2, 2]
    assert not (following.layout.artifacts / "2024-01-01").exists()


RESUMED = {
    "models/days.sql": DAY_TABLE,
    # The second attempt finds what the first one missed, in the second window only.
    "models/later.sql": """
{{ config(materialized='table') }} -- {{ ref('days') }}
select * from {{ env_var('TABLE_IN_TIME') }} where '{{ var('ds') }}' = '2024-01-02'
union all select 1 where '{{ var('ds') }}' = 'never'
""",
}


def attempt(
    root: Path, number: int, table: str, before: Ended | None = None, **plan: Any
) -> tuple[Pod, Ended]:
    pod = Pod(root / str(number), RESUMED, profile(root / "warehouse.duckdb"))
    pod.env["TABLE_IN_TIME"] = table
    if before:
        shutil.copytree(before.layout.run, pod.layout.previous)
    ended = pod.run(
        step("run", *VARS),
        windows=windows(),
        attempt=number,
        resume=number - 1 or None,
        stop_on_failure=False,
        **plan,
    )
    pod.database = root / "warehouse.duckdb"
    return pod, ended


def test_a_failed_window_is_continued_node_by_node(tmp_path: Path) -> None:
    """What is known of windows before decides which of them run; the results at hand decide how."""
    _, first = attempt(tmp_path, 1, "no_such_table", done="+--")
    assert first.summary.windows == "+MM"
    assert [reason_of(code) for code in first.summary.windows] == ["", "ModelError", "ModelError"]
    pod, second = attempt(tmp_path, 2, "(select 1 as id)", first, done="+M~")
    assert (second.code, second.summary.windows) == (0, "++~"), second.log
    assert "step run: 1 nodes are done, by the results of earlier attempts" in second.log
    assert rows(pod) == [("2024-01-02",), ("2024-01-03",)], "no window's row is there twice"
    built = second.artifact("2024-01-02/run/run_results.json")["results"]
    assert [row["unique_id"] for row in built] == ["model.shop.later"]
    (merged,) = second.artifact("2024-01-02/result.json")["steps"]
    assert merged["nodes"]["success"] == 2


# Isolation


@pytest.mark.parametrize("isolation", ["Process", "Command"])
def test_windows_work_with_a_process_for_each_step(tmp_path: Path, isolation: str) -> None:
    pod = Pod(tmp_path / "pod", {"models/days.sql": DAY_TABLE})
    ended = pod.run(step("run", *VARS), windows=windows(*DAYS[:2]), isolation=isolation)
    assert (ended.code, ended.summary.windows) == (0, "++"), ended.log
    assert rows(pod) == [("2024-01-01",), ("2024-01-02",)]
    assert f"each window is parsed for itself: isolation {isolation}" in ended.log


# Sharing a parse

THIRD = "{% if var('ds') == '2024-01-03' %}{{ ref('other') }}{% endif %}"


def test_a_ref_and_an_alias_of_the_third_day_are_not_missed(tmp_path: Path) -> None:
    """The counter-example: the manifests of the first two days are the same."""
    files = {
        "models/other.sql": "{{ config(materialized='table') }} select 7 as id",
        "models/by_ref.sql": """
{{ config(materialized='table', alias='third' if var('ds') == '2024-01-03' else 'early') }}
select {% if var('ds') == '2024-01-03' %} id from {{ ref('other') }} {% else %} 1 as id {% endif %}
""",
    }
    pod = Pod(tmp_path / "pod", files)
    ended = pod.run(step("run", *VARS), windows=windows())
    assert (ended.code, ended.summary.windows) == (0, "+++"), ended.log
    assert (rows(pod, "early", "id"), rows(pod, "third", "id")) == ([(1,)], [(7,)])
    assert ended.result["parse"]["count"] == 3
    obstacle = "each window is parsed for itself: models/by_ref.sql asks for var('ds')"
    assert ended.log.count(obstacle) == 1
    manifests = [
        ended.artifact(f"{day}/run/manifest.json")["nodes"]["model.shop.by_ref"] for day in DAYS
    ]
    assert [node["alias"] for node in manifests] == ["early", "early", "third"]
    assert [node["depends_on"]["nodes"] for node in manifests] == [[], [], ["model.shop.other"]]


@pytest.mark.dbt
def test_the_environment_is_validated_before_each_window(tmp_path: Path) -> None:
    """The third day would write elsewhere; a window that may not run does not keep the next from
    being parsed.
    """
    by_var = "{% macro generate_schema_name(name, node) %}{{ var('schema') }}{% endmacro %}"
    files = {"models/days.sql": DAY_TABLE, "macros/schema.sql": by_var}
    pod = Pod(tmp_path / "pod", files)
    schemas = ("analytics", "elsewhere", "analytics")
    plan = [
        Window(day, {"window.start": day, "schema": name})
        for day, name in zip(DAYS, schemas, strict=True)
    ]
    words = ("--vars", '{"ds":"$(window.start)","schema":"$(schema)"}')
    ended = pod.run(
        step("run", *words), windows=plan, schema_pattern="analytics", stop_on_failure=False
    )
    assert (ended.summary.reason, ended.summary.windows) == ("EnvironmentMismatch", "+E+"), (
        ended.log
    )
    assert 'schema "elsewhere" does not match' in ended.summary.message
    assert rows(pod) == [("2024-01-01",), ("2024-01-03",)]
    assert ended.result["parse"]["count"] == 3
    with duckdb.connect(str(pod.database), read_only=True) as connection:
        schemas_there = connection.execute(
            "select schema_name from information_schema.schemata"
        ).fetchall()
    assert ("elsewhere",) not in schemas_there


def test_a_package_that_is_there_only_later_is_looked_at_too(tmp_path: Path) -> None:
    """The first window has installed and parsed it by then, and the process that did so parses for
    no other.
    """
    files = {
        "packages.yml": "packages: [{local: ../library}]",
        "../library/dbt_project.yml": "name: library\nversion: '1.0'\n",
        "../library/macros/day.sql": "{% macro day() %}'{{ var('ds') }}'{% endmacro %}",
        "models/days.sql": (
            "{{ config(alias='d' ~ library.day()[-2]) }} select '{{ var('ds') }}' as ds"
        ),
    }
    pod = Pod(tmp_path / "pod", files)
    ended = pod.run(step("run", *VARS), windows=windows(), deps="IfMissing")
    assert (ended.code, ended.summary.windows) == (0, "+++"), ended.log
    assert "each window is parsed for itself: models/days.sql asks for var('ds')" in ended.log
    assert ended.result["parse"]["count"] == 3
    assert [rows(pod, f"d{number}") for number in (1, 2, 3)] == [[(day,)] for day in DAYS]
    assert (pod.layout.artifacts / DAYS[0] / "deps/dbt.log").is_file()
    assert not (pod.layout.artifacts / DAYS[1] / "deps").exists(), "once is enough"


MICROBATCH = """
{{ config(materialized='incremental', incremental_strategy='microbatch', event_time='happened', batch_size='day',
          begin='2024-01-01') }}
select id, happened, '{{ invocation_id }}' as built_by from {{ ref('events') }}
"""


@pytest.mark.dbt
def test_event_time_leaves_the_other_partitions_alone(tmp_path: Path) -> None:
    files = {
        "seeds/events.csv": (
            "id,happened\n1,2024-01-01 10:00:00\n2,2024-01-02 10:00:00\n3,2024-01-03 10:00:00\n"
        ),
        "models/daily.sql": MICROBATCH,
        "models/schema.yml": """
seeds: [{name: events, config: {event_time: happened, column_types: {happened: timestamp}}}]
""",
    }
    pod = Pod(tmp_path / "pod", files)
    values = [
        Window(start, {"window.start": start, "window.end": end})
        for start, end in (
            ("2024-01-01", "2024-01-02"),
            ("2024-01-02", "2024-01-03"),
            ("2024-01-01", "2024-01-02"),
        )
    ]
    values[2] = Window("again", values[2].values)
    times = ("--event-time-start", "$(window.start)", "--event-time-end", "$(window.end)")
    ended = pod.run(step("seed"), step("run", *times), windows=values)
    assert (ended.code, ended.result["parse"]) == (0, {"count": 1, "obstacle": ""}), ended.log
    built = dict(rows(pod, "daily", "id, built_by"))
    ids = {
        key: ended.artifact(f"{key}/run/run_results.json")["metadata"]["invocation_id"]
        for key in ("again", DAYS[1])
    }
    assert built == {1: ids["again"], 2: ids[DAYS[1]]}


def test_windows_do_not_share_what_differs_from_run_to_run(tmp_path: Path) -> None:
    alias = "{{ config(alias='days_' ~ run_started_at.strftime('%H%M%S%f')) }} "
    pod = Pod(tmp_path / "pod", {"models/days.sql": f"{alias} select '{{{{ var('ds') }}}}' as ds"})
    ended = pod.run(step("run", *VARS), windows=windows())
    assert (ended.code, ended.result["parse"]["count"]) == (0, 3), ended.log
    assert "each window is parsed for itself: models/days.sql asks for run_started_at" in ended.log
    with duckdb.connect(str(pod.database), read_only=True) as warehouse:
        assert len(warehouse.sql("select 1 from information_schema.tables").fetchall()) == 3


REFRESHED = DAY_TABLE.replace("'incremental'", "'incremental', full_refresh=true")


def test_a_model_that_each_window_would_build_anew_is_refused_before_the_first_statement(
    tmp_path: Path,
) -> None:
    pod = Pod(tmp_path / "pod", {"models/days.sql": REFRESHED, "models/other.sql": DAY_TABLE})
    ended = pod.run(step("build", *VARS), windows=windows())
    assert (ended.code, ended.summary.reason, ended.summary.windows) == (2, "ConfigError", "C--"), (
        ended.log
    )
    assert "model.shop.days would be built anew" in ended.summary.message
    assert "remove full_refresh from the config" in ended.summary.message
    assert not pod.database.exists()


def test_what_is_not_selected_or_keeps_nothing_may_say_so(tmp_path: Path) -> None:
    files = {
        "models/days.sql": REFRESHED,
        "models/other.sql": DAY_TABLE,
        "models/whole.sql": "{{ config(materialized='table', full_refresh=true) }} select 1 as id",
        "seeds/codes.csv": "id\n1\n",
        "dbt_project.yml": f"{PROJECT}\nseeds: {{+full_refresh: true}}\n",
    }
    pod = Pod(tmp_path / "pod", files)
    ended = pod.run(step("build", "--exclude", "days", *VARS), windows=windows())
    assert (ended.code, ended.summary.windows) == (0, "+++"), ended.log
    assert rows(pod, "other") == [(day,) for day in DAYS]


def test_nor_is_a_microbatch_model_built_anew_from_an_event_time(tmp_path: Path) -> None:
    files = {
        "models/events.sql": (
            "{{ config(event_time='happened') }} select 1 as id, date '2024-01-01' as happened"
        ),
        "models/daily.sql": MICROBATCH.replace("materialized=", "full_refresh=true, materialized="),
        "models/days.sql": REFRESHED.replace("var('ds')", "target.name"),
    }
    times = ("--event-time-start", "2024-01-01", "--event-time-end", "2024-01-02")
    ended = Pod(tmp_path / "pod", files).run(step("build", *times))
    assert (ended.code, ended.summary.reason) == (2, "ConfigError"), ended.log
    assert "model.shop.daily would be built anew" in ended.summary.message
    assert "days" not in ended.summary.message


def test_without_windows_values_are_left_as_they_are(tmp_path: Path) -> None:
    ended = Pod(tmp_path / "pod", {"models/days.sql": DAY_TABLE}).run(
        Step("run", "run", ["run", *VARS])
    )
    assert ended.code == 0, ended.log
    assert "windows" not in ended.result["parse"]
    assert not ended.layout.windows.exists()
