"""A dbt that is no Python program: real dbt behind a wrapper in another language, run by its
command line.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from dbt_protocol.plans import Step, Window
from dbt_runner.artifact_files import artifacts_of
from dbt_runner.volume import Volume
from tests.support.dbt_projects import (
    BROKEN,
    CANARY,
    NOBODY_THERE,
    ONE_MODEL,
    SHOP,
    SLOW,
    WRONG,
)
from tests.support.pods import BIN, PROJECT, VERSION, Ended, Pod, profile, step, wait_for_query

pytestmark = pytest.mark.one_dbt


# Real dbt needs seconds for that, most of which are spent on what is installed beside it.
ANSWERS = '[ "$1" != --version ] || exec echo dbt-core 1.11.16\n'


def wrapped(root: Path, files: dict[str, str], profiles: str = "", script: str = "") -> Pod:
    """A pod whose dbt is a shell script; all that it knows of Python is where the real dbt is."""
    script = script or f'#!/bin/sh\nexec {BIN}/dbt "$@"\n'
    first, _, rest = script.partition("\n")
    pod = Pod(root / "pod", files, profiles)
    folder = root / "bin"
    folder.mkdir()
    (folder / "dbt").write_text(f"{first}\n{ANSWERS}{rest}")
    (folder / "dbt").chmod(0o755)
    pod.env["PATH"] = f"{folder}:/usr/bin:/bin"
    return pod


@pytest.fixture(scope="module")
def succeeded(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    root = tmp_path_factory.mktemp("succeeded")
    profiles = profile(root / "pod/warehouse.duckdb", "\"{{ env_var('WAREHOUSE_TOKEN') }}\"")
    pod = wrapped(root, SHOP, profiles)
    pod.env["WAREHOUSE_TOKEN"] = CANARY
    return pod.run(
        step("seed"),
        step("sourceFreshness", "--select", "source:raw"),
        step("build", "--threads", "2"),
        step("runOperation", "leak"),
        step("docs", "--static"),
        schema_pattern="ANALYTICS(_.*)?",
        database_pattern="warehouse",
    )


def test_its_steps_succeed_and_are_counted(succeeded: Ended) -> None:
    assert (succeeded.code, succeeded.summary.reason) == (0, "")
    assert {each["state"] for each in succeeded.result["steps"]} == {"Succeeded"}
    built = succeeded.step("build")["nodes"]
    assert (built["total"], built["success"], built["passed"], built["warn"]) == (8, 4, 3, 1)
    assert succeeded.step("sourceFreshness")["nodes"]["warn"] == 1
    assert succeeded.summary.nodes.total == 1 + 1 + 8
    assert succeeded.summary.dbt_version.startswith("1.")


def test_each_step_leaves_the_artifacts_of_its_own_invocation(succeeded: Ended) -> None:
    names = ("seed", "build", "docs", "runOperation")
    ids = {
        succeeded.artifact(f"{name}/run_results.json")["metadata"]["invocation_id"]
        for name in names
    }
    assert len(ids) == len(names)
    assert succeeded.artifact("sourceFreshness/sources.json")["results"]
    assert succeeded.artifact("build/manifest.json")["metadata"]["env"]["RUN_UID"] == "uid-1"
    assert succeeded.artifact("runOperation/manifest.json")["nodes"]
    assert (succeeded.layout.artifacts / "docs/static_index.html").stat().st_size


def test_no_secret_leaves_the_container(succeeded: Ended) -> None:
    assert "the token is *****" in succeeded.log
    assert CANARY not in succeeded.log + succeeded.summary.to_json()
    folders = [folder for folder in succeeded.layout.artifacts.iterdir() if folder.is_dir()]
    uploaded = [path for folder in folders for path in artifacts_of(Volume(folder), folder)]
    assert len(uploaded) > 20
    assert [path for path in uploaded if CANARY.encode() in path.read_bytes()] == []


def test_what_was_asked_for_validation_is_not_printed(succeeded: Ended) -> None:
    assert '{"unique_id"' not in succeeded.log


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    may_fail: dict[str, Any] = {"allow_failure": True}
    return wrapped(tmp_path_factory.mktemp("failed"), BROKEN).run(
        step("seed"),
        step("build", name="model", **may_fail),
        step("build", "--select", "good", name="test", **may_fail),
        step("build", "--select", "tag:nothing", name="empty", **may_fail),
        step("build", "--select", "tag:nothing", "--warn-error", name="warned", **may_fail),
        step("sourceFreshness", "--select", "source:missing", name="missing", **may_fail),
        step("runOperation", "breaks", **may_fail),
        step(
            "run",
            "--select",
            "state:modified",
            "--state",
            "/no/such/state",
            name="state",
            **may_fail,
        ),
        step("build", "--no-such-flag", name="flag", **may_fail),
        step("run", "--select", "state:modified", name="stateless", **may_fail),
        step("docs", "--select", "tag:nothing", "--warn-error", name="docs", **may_fail),
    )


@pytest.mark.parametrize(
    ("name", "reason", "named"),
    [
        ("model", "ModelError", "model.shop.broken"),
        ("test", "TestFailed", "test.shop.unique_good_id"),
        ("empty", "NothingSelected", "--select tag:nothing"),
        ("warned", "NothingSelected", "--select tag:nothing"),
        ("missing", "FreshnessFailed", ""),
        ("runOperation", "ModelError", "no_such_table"),
        ("state", "MissingState", "no comparison manifest"),
        ("flag", "ConfigError", "--no-such-flag"),
        ("stateless", "ConfigError", "a selector by state needs spec.state"),
        ("docs", "ConfigError", "does not match any enabled nodes"),
    ],
)
def test_a_failure_has_its_reason_and_names_its_cause(
    failed: Ended, name: str, reason: str, named: str
) -> None:
    ended = failed.step(name)
    assert (ended["reason"], ended["state"]) == (reason, "Failed"), ended["message"]
    assert named in ended["message"]


@pytest.mark.parametrize(
    ("files", "profiles", "reason", "words"),
    [
        ({"models/one.sql": "select * from {{ ref('nowhere') }}"}, "", "ParseError", "nowhere"),
        (
            ONE_MODEL,
            "shop: {outputs: {dev: {type: duckdb, schema: dev}}}",
            "EnvironmentMismatch",
            "'prod'",
        ),
        (ONE_MODEL, NOBODY_THERE, "Unavailable", "Connection refused"),
    ],
    ids=["missing ref", "no such target", "no warehouse"],
)
@pytest.mark.parametrize("pattern", ["analytics", None], ids=["validated", "not validated"])
def test_what_is_wrong_before_the_first_node_has_its_reason(
    tmp_path: Path,
    files: dict[str, str],
    profiles: str,
    reason: str,
    words: str,
    pattern: str | None,
) -> None:
    ended = wrapped(tmp_path, files, profiles).run(step("build"), schema_pattern=pattern)
    assert (ended.code, ended.summary.reason) == (2, reason)
    assert words in ended.summary.message
    assert "the-password" not in ended.log


@pytest.mark.parametrize(
    ("argv", "patterns", "words"),
    [
        (["--target", "dev"], {"schema_pattern": "analytics"}, 'only the target "prod"'),
        (["--target=dev"], {}, 'only the target "prod"'),
        (["-tdev"], {}, 'only the target "prod"'),
        (["--profile", "other"], {}, "--profile"),
        (
            ["--select", "wrong"],
            {"schema_pattern": "analytics"},
            'schema "analytics_elsewhere" does not match',
        ),
        ([], {"database_pattern": "prod"}, 'database "warehouse" does not match'),
    ],
)
def test_nothing_reaches_a_warehouse_that_is_not_the_targets(
    tmp_path: Path, argv: list[str], patterns: dict[str, str], words: str
) -> None:
    pod = wrapped(tmp_path, WRONG)
    ended = pod.run(step("docs", allow_failure=True), step("run", *argv), **patterns)
    assert (ended.code, ended.summary.reason) == (2, "EnvironmentMismatch")
    assert words in ended.summary.message
    assert not pod.database.exists()


def test_a_wrong_schema_that_is_not_selected_is_none_of_the_runs_business(tmp_path: Path) -> None:
    ended = wrapped(tmp_path, WRONG).run(
        step("build", "--exclude", "wrong"), schema_pattern="analytics"
    )
    assert (ended.code, ended.summary.nodes.total) == (0, 1)


@pytest.mark.parametrize(
    ("does", "step_argv", "words"),
    [
        # Lists nothing, in no form that is known.
        (f'{BIN}/dbt "$@" >/dev/null', ["run"], "model.shop.wrong"),
        ("exit 0", ["run"], "left no manifest.json"),
        ("""echo '{"name": "wrong"}'; """ + f'{BIN}/dbt "$@" >/dev/null', ["run"], "unexpected"),
        (f'exec {BIN}/dbt "$@"', ["run", "--brand-new-flag"], "cannot be asked"),
        (f'exec {BIN}/dbt "$@"', ["--debug", "run"], "cannot be asked"),
        (f'exec {BIN}/dbt "$@"', ["retry"], "cannot be asked"),
    ],
)
def test_where_the_environment_cannot_be_validated_nothing_runs(
    tmp_path: Path, does: str, step_argv: list[str], words: str
) -> None:
    pod = wrapped(tmp_path, WRONG, script=f"#!/bin/sh\n{does}\n")
    ended = pod.run(Step("run", "run", step_argv), schema_pattern="analytics")
    assert ended.code == 2
    assert ended.summary.reason in ("EnvironmentMismatch", "ConfigError")
    assert words in ended.summary.message
    assert not pod.database.exists()


@pytest.mark.parametrize(
    ("script", "reason", "words"),
    [
        ("#!/bin/sh\nexit 0\n", "Unknown", "left no run_results.json"),
        ("#!/bin/sh\necho nothing works\nexit 3\n", "ParseError", "nothing works"),
        ("#!/bin/sh\nkill -SEGV $$\n", "Unknown", "SIGSEGV"),
        ("#!/no/such/interpreter\n", "ConfigError", "cannot be started"),
    ],
)
def test_a_program_that_only_looks_like_dbt_never_succeeds(
    tmp_path: Path, script: str, reason: str, words: str
) -> None:
    ended = wrapped(tmp_path, ONE_MODEL, script=script).run(step("build"))
    assert ended.code != 0
    assert ended.summary.reason == reason
    assert words in ended.summary.message


def test_a_dbt_is_asked_what_it_is_and_asks_nobody(tmp_path: Path) -> None:
    pod = wrapped(tmp_path, ONE_MODEL)
    (tmp_path / "bin/dbt").write_text(f'#!/bin/sh\nexec {BIN}/dbt "$@"\n')
    ended = pod.run(step("build"))
    assert (ended.code, ended.summary.engine) == (0, "Program"), ended.log
    assert ended.summary.dbt_version.startswith(VERSION)


@pytest.mark.parametrize(
    ("answer", "words"),
    [("exit 0", "nothing"), ("echo not for me >&2; exit 1", "not for me")],
)
def test_what_does_not_say_which_dbt_it_is_runs_nothing(
    tmp_path: Path, answer: str, words: str
) -> None:
    pod = wrapped(tmp_path, ONE_MODEL)
    (tmp_path / "bin/dbt").write_text(f"#!/bin/sh\n{answer}\n")
    ended = pod.run(step("build"))
    assert (ended.code, ended.summary.reason) == (2, "ConfigError"), ended.log
    assert f"what is called dbt answers to --version: {words}" in ended.summary.message


def test_a_script_in_python_may_start_a_program(tmp_path: Path) -> None:
    """As that of wheels of dbt 2: what a script begins with tells nothing."""
    pod = wrapped(tmp_path, ONE_MODEL)
    real = tmp_path / "bin/dbt-program"
    (tmp_path / "bin/dbt").rename(real)
    python = getattr(sys, "_base_executable", sys.executable)  # has no dbt
    start = f"import os, sys\nos.execv({str(real)!r}, ['dbt', *sys.argv[1:]])\n"
    (tmp_path / "bin/dbt").write_text(f"#!{python}\n{start}")
    (tmp_path / "bin/dbt").chmod(0o755)
    ended = pod.run(step("build"))
    assert (ended.code, ended.summary.engine) == (0, "Program"), ended.log


def test_results_that_were_there_before_prove_nothing(tmp_path: Path) -> None:
    """A dbt that brings an old file along and does nothing."""
    old = {
        "metadata": {"invocation_id": "x", "generated_at": "2024-01-01T00:00:00Z"},
        "results": [],
    }
    (tmp_path / "old.json").write_text(json.dumps(old))
    script = f'#!/bin/sh\ncp {tmp_path}/old.json "$DBT_TARGET_PATH/run_results.json"\n'
    ended = wrapped(tmp_path, ONE_MODEL, script=script).run(step("build"))
    assert (ended.code, ended.summary.reason) == (1, "Unknown")


@pytest.mark.parametrize("how", ["exec ", ""], ids=["exec", "a shell that waits"])
def test_sigterm_cancels_the_query_and_keeps_what_was_finished(tmp_path: Path, how: str) -> None:
    pod = wrapped(tmp_path, SLOW, script=f'#!/bin/sh\n{how}{BIN}/dbt "$@"\n')
    process = pod.start(step("run"), step("docs", always=True))
    log = pod.wait_for(process, "analytics.slow")
    wait_for_query(process)
    process.send_signal(signal.SIGTERM)
    ended = pod.finish(process, log)
    assert ended.summary.reason == "Cancelled"
    assert [each["state"] for each in ended.result["steps"]] == ["Failed", "Skipped"]
    done = ended.artifact("run/run_results.json")["results"]
    assert [result["unique_id"] for result in done] == ["model.shop.quick"]


# Stands between dbt and its caller, and loses a result.
FORGETFUL = """#!/bin/sh
{dbt} "$@" || exit
[ "$1" = list ] || {python} - <<'END'
import json, os
path = os.environ["DBT_TARGET_PATH"] + "/run_results.json"
found = json.load(open(path))
found["results"] = [result for result in found["results"] if "right" not in result["unique_id"]]
json.dump(found, open(path, "w"))
END
"""


def test_a_success_without_a_result_for_all_that_was_selected_is_none(tmp_path: Path) -> None:
    script = FORGETFUL.format(dbt=f"{BIN}/dbt", python=f"{BIN}/python")
    ended = wrapped(tmp_path, WRONG, script=script).run(step("run"), schema_pattern="analytics.*")
    assert ended.summary.reason == "Unknown"
    assert "run_results.json has no result for model.shop.right" in ended.summary.message


@pytest.mark.parametrize(
    ("files", "left_out"),
    [
        ({}, 0),
        ({"selectors.yml": "selectors: [{name: a, definition: {method: fqn, value: good}}]\n"}, 0),
        (
            {
                "selectors.yml": (
                    "selectors: [{name: a, default: true, definition: {method: fqn, value: one}}]\n"
                )
            },
            None,
        ),
    ],
)
def test_that_nothing_has_narrowed_a_build_is_read_from_the_projects_files(
    tmp_path: Path, files: dict[str, str], left_out: int | None
) -> None:
    ended = wrapped(tmp_path, {**ONE_MODEL, **files}).run(step("build"))
    assert ended.code == 0, ended.log
    assert ended.step("build")["left_out"] == left_out
    assert ended.summary.whole is (left_out == 0)


def test_a_flag_that_the_image_sets_is_refused(tmp_path: Path) -> None:
    pod = wrapped(tmp_path, ONE_MODEL)
    pod.env["DBT_EMPTY"] = "true"
    ended = pod.run(step("build"))
    assert (ended.summary.reason, pod.database.exists()) == ("ConfigError", False), ended.log
    assert "sets DBT_EMPTY" in ended.summary.message


SILENT = """
flags: {log_format: json, log_level: none, log_level_file: none, use_colors: true, write_json: false}
"""


@pytest.mark.parametrize(
    ("sql", "reason", "words"),
    [("select 1 as id", "", "1 of 1 steps succeeded"), ("{{ nope( }}", "ParseError", "one.sql")],
    ids=["good", "broken"],
)
def test_what_it_prints_is_read_whatever_the_project_says_of_logs(
    tmp_path: Path, sql: str, reason: str, words: str
) -> None:
    files = {"models/one.sql": sql, "dbt_project.yml": PROJECT + SILENT}
    pod = wrapped(tmp_path, files)
    pod.env["DBT_QUIET"] = "true"
    ended = pod.run(step("build"), schema_pattern="analytics")
    assert ended.summary.reason == reason, ended.log
    assert words in ended.summary.message
    assert reason or ended.summary.nodes.total == 1


def test_a_model_that_each_window_would_build_anew_is_refused(tmp_path: Path) -> None:
    model = (
        "{{ config(materialized='incremental', full_refresh=true) }} select '{{ var('ds') }}' as ds"
    )
    pod = wrapped(tmp_path, {"models/days.sql": model})
    argv = ("--vars", '{"ds":"$(window.start)"}')
    ended = pod.run(step("build", *argv), windows=[Window("a", {"window.start": "a"})])
    assert (ended.summary.reason, ended.summary.windows) == ("ConfigError", "C"), ended.log
    assert "model.shop.days would be built anew" in ended.summary.message
    assert not pod.database.exists()


@pytest.mark.parametrize(
    ("locked", "words"),
    [
        ({}, "there is no package-lock.yml"),
        ({"package-lock.yml": "packages: []\nsha1_hash: stale\n"}, "was not made for the packages"),
    ],
)
def test_nothing_runs_with_packages_that_no_lock_file_pins(
    tmp_path: Path, locked: dict[str, str], words: str
) -> None:
    library = {"library/dbt_project.yml": "name: library\nversion: '1.0'\n"}
    declared = {"packages.yml": "packages:\n  - local: library\n"}
    pod = wrapped(tmp_path, ONE_MODEL | library | declared | locked)
    ended = pod.run(step("build"), deps="IfMissing", deps_locked=True)
    assert (ended.code, ended.summary.reason) == (2, "ConfigError"), ended.log
    assert words in ended.summary.message
