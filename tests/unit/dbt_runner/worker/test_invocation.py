"""The runner with real dbt on DuckDB: what dbt does, and what the runner makes of it.

Importing dbt takes seconds, so one run serves many of these tests: a run of every command, and a
run of failures.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipapp
from pathlib import Path
from typing import Any

import duckdb
import pytest

import dbt_runner
from dbt_operator.api.kinds.run import DbtRun
from dbt_operator.planning.attempt.dbt_args import argv
from dbt_protocol.plans import Step
from dbt_protocol.summaries import Failure, Nodes
from dbt_runner.artifact_files import artifacts_of
from dbt_runner.volume import Volume
from tests.support.builders import run
from tests.support.dbt_projects import BROKEN, CANARY, NOBODY_THERE, ONE_MODEL, SHOP, SLOW, WRONG
from tests.support.kube import PATIENCE
from tests.support.pods import (
    BIN,
    PROJECT,
    VERSION,
    Ended,
    Pod,
    forked_child,
    profile,
    step,
    wait_for_query,
)
from tests.support.sql_archives import read_archive

pytestmark = pytest.mark.dbt


@pytest.fixture(scope="module")
def every_command(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    root = tmp_path_factory.mktemp("every") / "pod"
    credential = "\"{{ env_var('WAREHOUSE_TOKEN') }}\""
    # Fresh, so that there is one test of all commands in which nothing differs from a pod.
    pod = Pod(root, SHOP, profile(root / "warehouse.duckdb", credential), fresh=True)
    pod.env["WAREHOUSE_TOKEN"] = CANARY
    return pod.run(
        step("seed"),
        step("sourceFreshness", "--select", "source:raw"),
        step("build"),
        step("run", "--select", "orders"),
        step("test", "--select", "orders"),
        step("snapshot"),
        step("compile"),
        step("list", "--output", "name"),
        step("runOperation", "leak"),
        step("docs", "--static"),
        schema_pattern="ANALYTICS(_.*)?",
        database_pattern="warehouse",
    )


def test_every_command_succeeds(every_command: Ended) -> None:
    assert every_command.code == 0
    assert every_command.summary.reason == ""
    assert {each["state"] for each in every_command.result["steps"]} == {"Succeeded"}
    assert every_command.summary.dbt_version.startswith(VERSION)


def test_nodes_are_counted_by_status(every_command: Ended) -> None:
    built = every_command.step("build")["nodes"]
    # Seed, two models, a snapshot; unit test, unique, not_null; accepted_values warns.
    assert built == {
        "total": 8,
        "success": 4,
        "passed": 3,
        "warn": 1,
        "error": 0,
        "skipped": 0,
        "fail": 0,
        "no_op": 0,
    }
    assert every_command.step("sourceFreshness")["nodes"]["warn"] == 1
    assert every_command.step("docs")["nodes"]["total"] == 0
    assert every_command.summary.nodes.total == 1 + 1 + 8 + 1 + 3 + 1


def test_each_step_leaves_the_artifacts_of_its_own_invocation(every_command: Ended) -> None:
    ids = set()
    for name in ("seed", "build", "run", "test", "snapshot", "compile", "docs", "runOperation"):
        found = every_command.artifact(f"{name}/run_results.json")["metadata"]
        assert found["env"]["RUN_UID"] == "uid-1"
        ids.add(found["invocation_id"])
        manifest = every_command.artifact(f"{name}/manifest.json")["metadata"]
        assert manifest["env"]["RUN"] == "nightly"
        if name != "runOperation":  # whose manifest is the one that was parsed
            assert manifest["invocation_id"] == found["invocation_id"]
    assert len(ids) == 8
    assert every_command.artifact("sourceFreshness/sources.json")["results"]
    assert "manifest.json" in {
        path.name for path in (every_command.layout.artifacts / "list").iterdir()
    }


def test_the_docs_are_one_static_page(every_command: Ended) -> None:
    page = (every_command.layout.artifacts / "docs/static_index.html").read_text()
    assert "model.shop.totals" in page


def test_the_events_are_json_lines(every_command: Ended) -> None:
    lines = (every_command.layout.artifacts / "build/events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert {"level", "name", "msg", "ts"} <= set(events[0])
    assert "model.shop.totals" in {event.get("node") for event in events}
    assert "debug" not in {event["level"] for event in events}


def test_no_secret_leaves_the_container(every_command: Ended) -> None:
    sql = read_archive(every_command.layout.artifacts / "build")
    assert "'*****'" in sql["compiled/shop/models/orders.sql"]
    assert "'*****'" in sql["run/shop/models/orders.sql"]
    assert CANARY not in "".join(sql.values())
    assert "the token is *****" in every_command.log
    assert CANARY not in every_command.log
    assert CANARY not in every_command.summary.to_json()
    volume = Volume(every_command.layout.artifacts)
    uploaded = [
        path
        for folder, _ in volume.entries(every_command.layout.artifacts)
        for path in artifacts_of(volume, folder)
    ]
    assert uploaded
    assert not [path for path in uploaded if CANARY.encode() in path.read_bytes()]


def test_no_secret_of_a_dotenv_file_leaves_the_container(tmp_path: Path) -> None:
    """dbt takes in the project's .env as of 1.12; earlier versions render the default."""
    leaks = {
        **ONE_MODEL,
        ".env": f"KEPT_IN_DOTENV={CANARY}\n",
        "macros/leak.sql": "{% macro leak() %}{% do log('it is ' ~ env_var('KEPT_IN_DOTENV', '*****'), info=True) %}"
        "{% endmacro %}",
    }
    profiles = profile(tmp_path / "warehouse.duckdb", "\"{{ env_var('KEPT_IN_DOTENV', '') }}\"")
    pod = Pod(tmp_path / "pod", leaks, profiles, fresh=True)
    ended = pod.run(step("runOperation", "leak"))
    assert "it is *****" in ended.log
    assert CANARY not in ended.log
    events = (ended.layout.artifacts / "runOperation/events.jsonl").read_text()
    assert CANARY not in events + (ended.layout.artifacts / "runOperation/dbt.log").read_text()


def test_the_last_line_of_the_log_is_the_verdict(every_command: Ended) -> None:
    assert every_command.last_line.startswith("dbt-operator: Succeeded: 15 nodes")


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    pod = Pod(tmp_path_factory.mktemp("failures") / "pod", BROKEN)
    may_fail: dict[str, Any] = {"allow_failure": True}
    return pod.run(
        step("seed"),
        step("build", name="model", **may_fail),
        step("build", "--select", "good", name="test", **may_fail),
        step("build", "--select", "tag:nothing", name="empty", **may_fail),
        step("build", "--select", "tag:nothing", name="empty-allowed", allow_empty=True),
        step(
            "run",
            "--select",
            "good",
            "--vars",
            '{"hook": "start"}',
            name="on-run-start",
            **may_fail,
        ),
        step("run", "--select", "good", "--vars", '{"hook": "end"}', name="on-run-end", **may_fail),
        step("sourceFreshness", "--select", "source:stale", name="stale", **may_fail),
        step("sourceFreshness", "--select", "source:missing", name="missing", **may_fail),
        step("runOperation", "breaks", **may_fail),
        step("build", "--select", "good", "--fail-fast", name="fail-fast", **may_fail),
        step(
            "run",
            "--select",
            "state:modified",
            "--state",
            "/no/such/state",
            name="state",
            **may_fail,
        ),
    )


@pytest.mark.parametrize(
    ("name", "reason", "named"),
    [
        ("model", "ModelError", "model.shop.broken"),
        ("test", "TestFailed", "test.shop.unique_good_id"),
        ("empty", "NothingSelected", "--select tag:nothing"),
        ("empty-allowed", "", ""),
        ("on-run-start", "HookFailed", "operation.shop.shop-on-run-start-0"),
        ("on-run-end", "HookFailed", "operation.shop.shop-on-run-end-0"),
        ("stale", "FreshnessFailed", "source.shop.stale.raw"),
        ("missing", "FreshnessFailed", "source.shop.missing.nowhere"),
        ("runOperation", "ModelError", "no_such_table"),
        ("fail-fast", "TestFailed", "test.shop.unique_good_id"),
        ("state", "MissingState", "no comparison manifest"),
    ],
)
def test_a_failure_has_its_reason_and_names_its_cause(
    failures: Ended, name: str, reason: str, named: str
) -> None:
    ended = failures.step(name)
    assert (ended["reason"], ended["state"]) == (reason, "Failed" if reason else "Succeeded")
    assert named in ended["message"]


def test_what_was_skipped_comes_after_its_cause(failures: Ended) -> None:
    found = [
        (failure["unique_id"], failure["status"]) for failure in failures.step("model")["failures"]
    ]
    assert found[0] == ("model.shop.broken", "error")
    assert ("model.shop.after", "skipped") in found


def test_failures_that_are_allowed_do_not_fail_the_run(failures: Ended) -> None:
    assert failures.code == 0
    assert failures.summary.reason == ""
    assert "step stale, which may fail, failed (FreshnessFailed" in failures.result["message"]
    assert failures.last_line.startswith("dbt-operator: Succeeded")
    assert "test.shop.unique_good_id" in failures.last_line


@pytest.fixture(scope="module")
def separate(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A failure that counts, with every step in a process of its own."""
    pod = Pod(tmp_path_factory.mktemp("separate") / "pod", BROKEN)
    return pod.run(
        step("build", "--select", "+broken"),
        step("run", "--select", "good", name="not-any-more"),
        step("docs", "--select", "good", always=True),
        isolation="Process",
    )


def test_after_a_failure_only_steps_that_always_run_do(separate: Ended) -> None:
    assert [each["state"] for each in separate.result["steps"]] == [
        "Failed",
        "Skipped",
        "Succeeded",
    ]
    assert separate.code == 1
    assert (separate.summary.reason, separate.summary.exit_code) == ("ModelError", 1)
    assert separate.summary.failures == [
        Failure("model.shop.broken", "error", separate.summary.failures[0].message),
    ]
    assert "no_such_column" in separate.summary.failures[0].message
    assert (
        separate.last_line == "dbt-operator: Failed (ModelError): 1 node failed: model.shop.broken"
    )


def test_a_step_in_a_process_of_its_own_leaves_the_same_artifacts(separate: Ended) -> None:
    assert separate.artifact("build/manifest.json")["metadata"]["env"]["RUN_UID"] == "uid-1"
    assert separate.artifact("docs/catalog.json")
    assert not (separate.layout.artifacts / "not-any-more").exists()


@pytest.mark.parametrize(
    ("files", "profiles", "argv", "reason", "words"),
    [
        ({"models/one.sql": "select * from {{ ref('nowhere') }}"}, "", [], "ParseError", "nowhere"),
        ({"models/one.sql": "select {% if %}"}, "", [], "ParseError", "one.sql"),
        (
            ONE_MODEL,
            "shop: {outputs: {dev: {type: duckdb, schema: dev}}}",
            [],
            "EnvironmentMismatch",
            "'prod'",
        ),
        (ONE_MODEL, "shop: [", [], "ConfigError", "profiles.yml"),
        (ONE_MODEL, "", ["--no-such-flag"], "ConfigError", "--no-such-flag"),
    ],
    ids=["missing ref", "bad jinja", "no such target", "bad profile", "unknown flag"],
)
def test_what_is_wrong_before_the_first_node_has_its_reason(
    tmp_path: Path, files: dict[str, str], profiles: str, argv: list[str], reason: str, words: str
) -> None:
    ended = Pod(tmp_path / "pod", files, profiles).run(
        step("build", *argv), step("docs", always=True)
    )
    assert (ended.code, ended.summary.reason) == (2, reason)
    assert words in ended.summary.message
    assert [each["state"] for each in ended.result["steps"]] == ["Failed", "Skipped"]
    if reason == "ParseError":
        assert (ended.layout.artifacts / "build/dbt.log").stat().st_size


def test_a_warehouse_that_is_away_is_unavailable(tmp_path: Path) -> None:
    ended = Pod(tmp_path / "pod", ONE_MODEL, NOBODY_THERE).run(
        step("build"), schema_pattern="analytics"
    )
    assert (ended.code, ended.summary.reason) == (2, "Unavailable")
    assert "Connection refused" in ended.summary.message
    assert "the-password" not in ended.log


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--target", "dev"], 'allows only "prod"'),
        (
            ["--select", "wrong"],
            'model.shop.wrong: schema "analytics_elsewhere" does not match schemaPattern',
        ),
    ],
    ids=["target", "schema"],
)
def test_nothing_reaches_a_warehouse_that_is_not_the_targets(
    tmp_path: Path, argv: list[str], words: str
) -> None:
    pod = Pod(tmp_path / "pod", WRONG)
    ended = pod.run(step("run", *argv), schema_pattern="analytics")
    assert (ended.code, ended.summary.reason) == (2, "EnvironmentMismatch")
    assert words in ended.summary.message
    assert not pod.database.exists()


def test_a_wrong_schema_that_is_not_selected_is_none_of_the_runs_business(tmp_path: Path) -> None:
    ended = Pod(tmp_path / "pod", WRONG).run(
        step("build", "--exclude", "wrong"), schema_pattern="analytics"
    )
    assert (ended.code, ended.summary.nodes.total) == (0, 1)


WARNING = {
    "models/orders.sql": "select 1 as id",
    "models/totals.sql": "select count(*) as n from {{ ref('orders') }}",
    "models/schema.yml": """
models:
  - name: orders
    columns:
      - name: id
        data_tests: [{accepted_values: {arguments: {values: [7], quote: false}, config: {severity: warn}}}]
""",
}


@pytest.mark.parametrize("passed_on", [True, False], ids=["dbt is told", "dbt is not told"])
def test_a_gate_lets_a_test_that_warns_fail_and_its_children_be_skipped(
    tmp_path: Path, passed_on: bool
) -> None:
    spec = DbtRun.model_validate(run(gate={"failOn": "Warn"})).spec
    asked = argv(spec.steps[0], spec)
    pod = Pod(tmp_path / "pod", WARNING)
    ended = pod.run(Step("build", "build", asked if passed_on else ["build"]), fail_on_warn=True)
    assert (ended.code, ended.summary.reason) == (1, "TestFailed")
    assert ended.summary.failures[0].unique_id.startswith("test.shop.accepted_values_orders_id")
    found = {
        result["unique_id"]: result["status"]
        for result in ended.artifact("build/run_results.json")["results"]
    }
    assert found["model.shop.totals"] == ("skipped" if passed_on else "success")
    nodes = ended.summary.nodes
    assert (nodes.fail, nodes.warn, nodes.skipped) == ((1, 0, 1) if passed_on else (0, 1, 0))


LATE = {
    "models/orders.sql": "select * from {{ source('raw', 'orders') }}",
    "models/schema.yml": """
sources:
  - name: raw
    schema: main
    tables:
      - name: orders
        config: {loaded_at_field: loaded_at, freshness: {error_after: {count: 1, period: day}}}
""",
}


def load(pod: Pod, at: str) -> None:
    with duckdb.connect(str(pod.database)) as connection:
        connection.execute(f"create or replace table orders as select {at} as loaded_at")


def test_a_run_can_wait_for_its_sources(tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", LATE)
    load(pod, "timestamp '2024-01-01'")
    process = pod.start(
        step("sourceFreshness", on_stale="Wait"), step("build"), timeout_seconds=PATIENCE
    )
    log = pod.wait_for(
        process, "waiting, since source.shop.raw.orders is older than error_after allows"
    )
    load(pod, "now()::timestamp")
    ended = pod.finish(process, log)
    assert (ended.code, ended.summary.reason) == (0, "")
    assert ended.summary.nodes == Nodes(total=2, success=1, passed=1)
    assert ended.artifact("sourceFreshness/sources.json")["results"][0]["status"] == "pass"


def test_a_run_whose_sources_have_nothing_new_can_be_skipped(tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", LATE)
    load(pod, "timestamp '2024-01-01'")
    ended = pod.run(
        step("sourceFreshness", on_stale="Skip"), step("build"), step("compile", always=True)
    )
    assert (ended.code, ended.summary.reason) == (0, "NotFresh")
    assert [each["state"] for each in ended.result["steps"]] == ["NotFresh", "Skipped", "Succeeded"]


def test_sigterm_cancels_the_query_and_keeps_what_was_finished(tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", SLOW)
    process = pod.start(step("run"), step("docs", always=True))
    log = pod.wait_for(process, "analytics.quick")
    pod.watch(process, lambda progress: progress.running == ("model.shop.slow",))
    wait_for_query(process)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    ended = pod.finish(process, log)
    assert ended.code == 2
    assert ended.summary.reason == "Cancelled"
    assert "1 of 3 nodes had ended by then" in ended.summary.message
    assert [each["state"] for each in ended.result["steps"]] == ["Failed", "Skipped"]
    done = ended.artifact("run/run_results.json")["results"]
    assert [result["unique_id"] for result in done] == ["model.shop.quick"]
    assert ended.artifact("run/manifest.json")["nodes"]


def test_what_was_finished_counts_although_dbt_had_to_be_killed(tmp_path: Path) -> None:
    """dbt writes its results and then waits for a model that nothing can interrupt."""
    deaf = """
import threading

def model(dbt, session):
    quick = dbt.ref("quick")
    print("from here on", flush=True)
    threading.Event().wait(600)
    return quick
"""
    pod = Pod(
        tmp_path / "pod", {"models/quick.sql": SLOW["models/quick.sql"], "models/deaf.py": deaf}
    )
    process = pod.start(step("run"), grace_seconds=10)
    log = pod.wait_for(process, "from here on")  # its statements before that can be interrupted
    process.send_signal(signal.SIGTERM)
    ended = pod.finish(process, log)
    assert "killing it" in ended.log
    assert (ended.code, ended.summary.reason) == (137, "Cancelled")
    assert (ended.summary.nodes.total, ended.summary.nodes.success) == (1, 1)


def test_a_killed_step_is_unknown_and_the_rest_goes_on(tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", SLOW)
    process = pod.start(
        step("run", allow_failure=True), step("run", "--select", "quick", name="again")
    )
    log = pod.wait_for(process, "analytics.slow")
    _, child = forked_child(process.pid)
    os.kill(child, signal.SIGKILL)
    ended = pod.finish(process, log)
    assert ended.code == 0
    killed = ended.step("run")
    assert (killed["reason"], killed["exit_code"]) == ("Unknown", 137)
    assert "SIGKILL" in killed["message"]
    assert ended.artifact("run/manifest.json")["nodes"]
    with duckdb.connect(str(pod.database), read_only=True) as connection:
        assert connection.execute("select * from analytics.quick").fetchall() == [(1,)]


def test_a_killed_zygote_takes_its_step_along_and_no_more(tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", SLOW)
    process = pod.start(step("run"), step("run", "--select", "quick", name="again", always=True))
    log = pod.wait_for(process, "analytics.slow")
    zygote, _ = forked_child(process.pid)
    os.kill(zygote, signal.SIGKILL)
    ended = pod.finish(process, log)
    assert (ended.code, ended.summary.reason) == (137, "Unknown")
    assert ended.step("again")["state"] == "Succeeded"


def test_the_timeout_also_holds_while_dbt_is_being_imported(tmp_path: Path) -> None:
    ended = Pod(tmp_path / "pod", ONE_MODEL).run(step("build"), timeout_seconds=0.3)
    assert ended.summary.reason == "Timeout"
    # On a slow machine its time is over before the step has begun.
    first = r"before (dbt had started its first node|its first step)"
    assert re.search(first, ended.summary.message), ended.summary.message


FLAGS = {
    "models/always.sql": "select 1 as id",
    "models/only_full.sql": "{{ config(enabled=flags.FULL_REFRESH) }} select 1 as id",
}


def test_flags_that_the_project_parses_by_are_not_shared(tmp_path: Path) -> None:
    ended = Pod(tmp_path / "pod", FLAGS).run(
        step("build"), step("build", "--full-refresh", name="full")
    )
    assert ended.step("build")["nodes"]["total"] == 1
    assert ended.step("full")["nodes"]["total"] == 2


@pytest.mark.parametrize("name", ["DBT_FULL_REFRESH", "DBT_ENGINE_FULL_REFRESH"])
def test_a_flag_that_the_image_sets_is_refused_before_the_first_statement(
    tmp_path: Path, name: str
) -> None:
    pod = Pod(tmp_path / "pod", ONE_MODEL)
    pod.env[name] = "true"
    ended = pod.run(step("build"))
    assert (ended.code, ended.summary.reason) == (2, "ConfigError"), ended.log
    assert f"sets {name}, which dbt reads as a flag" in ended.summary.message
    assert not pod.database.exists()


def test_a_flag_in_the_projects_own_variables_is_refused_where_dbt_reads_them(
    tmp_path: Path,
) -> None:
    files = {**ONE_MODEL, ".env": "DBT_FULL_REFRESH=true\n"}
    ended = Pod(tmp_path / "pod", files, fresh=True).run(step("build"))
    refused = ended.summary.reason == "ConfigError" and "DBT_FULL_REFRESH" in ended.summary.message
    assert refused is (VERSION != "1.11."), ended.log


def test_results_are_written_whatever_the_project_or_the_image_says(tmp_path: Path) -> None:
    project = f"{PROJECT}\nflags: {{write_json: false}}\n"
    pod = Pod(tmp_path / "pod", {**ONE_MODEL, "dbt_project.yml": project})
    pod.env["DBT_WRITE_JSON"] = "false"
    pod.env["DBT_ENGINE_WRITE_JSON"] = "false"
    ended = pod.run(step("build"))
    assert (ended.code, ended.summary.nodes.total) == (0, 1), ended.log


def test_the_runner_is_a_zipapp_that_any_python_can_start(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for package in ("dbt_protocol", "dbt_runner"):
        shutil.copytree(
            Path(dbt_runner.__file__).parent.with_name(package),
            source / package,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    zipapp.create_archive(source, tmp_path / "runner.pyz", main="dbt_runner.__main__:main")
    pod = Pod(tmp_path / "pod", ONE_MODEL)
    plan = pod.plan(step("build")).to_json()
    system = getattr(sys, "_base_executable", sys.executable)  # has no dbt
    code = subprocess.run(
        [system, "-I", str(tmp_path / "runner.pyz"), "run", "--root", str(pod.root)],
        env={"PATH": BIN, "DBT_OPERATOR_PLAN": plan},
        check=False,
    ).returncode
    assert code == 0
