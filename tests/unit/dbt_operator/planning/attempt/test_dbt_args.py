from __future__ import annotations

import atexit
import json
import os
import subprocess
from functools import cache
from typing import Any

import click
import pytest
from pydantic import ValidationError

from dbt_operator.api.kinds.run import DbtRun
from dbt_operator.api.parts.steps import COMMANDS, Step
from dbt_operator.planning.attempt.dbt_args import argv
from tests.cluster.state import REPOSITORY
from tests.support.builders import run
from tests.support.pods import BIN

pytestmark = pytest.mark.dbt

PARSER = REPOSITORY / "tests" / "support" / "dbt_parser.py"


def args(step: dict[str, Any], **spec: Any) -> list[str]:
    parsed = DbtRun.model_validate(run(steps=[step], **spec))
    return argv(parsed.spec.steps[0], parsed.spec)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"build": {}}, ["build"]),
        (
            {"build": {"select": ["tag:core+ test_type:generic", "+orders"], "exclude": ["x"]}},
            ["build", "--select", "tag:core+ test_type:generic", "+orders", "--exclude", "x"],
        ),
        ({"build": {"selector": "nightly"}}, ["build", "--selector", "nightly"]),
        (
            {"build": {"fullRefresh": True, "failFast": True}},
            ["build", "--full-refresh", "--fail-fast"],
        ),
        ({"run": {"fullRefresh": False}}, ["run"]),
        ({"test": {"select": ["x"]}}, ["test", "--select", "x"]),
        ({"seed": {"fullRefresh": True}}, ["seed", "--full-refresh"]),
        ({"snapshot": {}}, ["snapshot"]),
        ({"docs": {}}, ["docs", "generate", "--static"]),
        (
            {"sourceFreshness": {"select": ["source:x"]}},
            ["source", "freshness", "--select", "source:x"],
        ),
        (
            {"runOperation": {"macro": "grant", "args": {"role": "it's"}}},
            ["run-operation", "grant", "--args", '{"role":"it\'s"}'],
        ),
    ],
)
def test_a_step_becomes_an_argv(step: dict[str, Any], expected: list[str]) -> None:
    assert args(step) == expected


def test_vars_are_one_argument_and_threads_go_with_them() -> None:
    found = args({"build": {}}, vars={"b": [1, "$(rm -rf /)"], "a": None}, threads=8)
    assert found == ["build", "--vars", '{"a":null,"b":[1,"$(rm -rf /)"]}', "--threads", "8"]


@pytest.mark.parametrize("value", ["--target=prod", "-s", " x", ""])
def test_no_selection_can_pass_for_an_option(value: str) -> None:
    with pytest.raises(ValidationError):
        Step.model_validate({"build": {"select": [value]}})


@cache
def dbt_parser() -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "DBT_PROFILES_DIR": ".",
        "DBT_PROJECT_DIR": ".",
    }  # which must exist
    process = subprocess.Popen(
        [f"{BIN}/python", str(PARSER)],
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    atexit.register(process.communicate)  # it ends when it has read all there is
    return process


def understood(arguments: list[str]) -> dict[str, Any]:
    """What dbt's own parser makes of a command line.

    Raises:
        click.UsageError: it does not know an option.
    """
    process = dbt_parser()
    assert process.stdin is not None
    assert process.stdout is not None
    print(json.dumps(arguments), file=process.stdin, flush=True)
    answer = json.loads(process.stdout.readline())
    if "error" in answer:
        raise click.UsageError(answer["error"])
    params: dict[str, Any] = answer["params"]
    return params


# Every field of every command, and of the run.
EVERYTHING: dict[str, dict[str, Any]] = {
    "build": {
        "select": ["a", "b"],
        "exclude": ["c"],
        "indirectSelection": "cautious",
        "failFast": True,
        "fullRefresh": True,
        "resourceTypes": ["model", "test"],
        "excludeResourceTypes": ["seed"],
        "storeFailures": True,
        "sample": "{'start': '2024-01-01', 'end': '2024-01-08 18:00:00'}",
    },
    "run": {
        "selector": "x",
        "indirectSelection": "eager",
        "failFast": True,
        "fullRefresh": True,
        "empty": True,
    },
    "test": {
        "select": ["a"],
        "failFast": True,
        "resourceTypes": ["unit_test"],
        "excludeResourceTypes": ["test"],
        "storeFailures": True,
    },
    "seed": {"select": ["a"], "indirectSelection": "empty", "fullRefresh": True},
    "snapshot": {"select": ["a"], "empty": True},
    "compile": {"select": ["a"], "exclude": ["b"]},
    "list": {
        "select": ["a", "b"],
        "exclude": ["c"],
        "indirectSelection": "buildable",
        "resourceTypes": ["model", "source"],
        "excludeResourceTypes": ["test"],
        "output": "json",
        "outputKeys": ["name", "config.materialized"],
    },
    "clone": {
        "select": ["a"],
        "exclude": ["b"],
        "fullRefresh": True,
        "resourceTypes": ["model"],
        "excludeResourceTypes": ["seed"],
    },
    "docs": {},
    "sourceFreshness": {"select": ["source:a"], "exclude": ["source:b"]},
    "runOperation": {"macro": "m", "args": {"a": 1}},
}


@pytest.mark.parametrize("command", COMMANDS)
def test_dbt_understands_every_option_of_every_command(command: str) -> None:
    options = EVERYTHING[command]
    found = understood(
        args(
            {command: options},
            vars={"a": 1},
            threads=3,
            eventTime={"start": "2024-01-01", "end": "2024-01-02T03:00:00"},
            warnErrorOptions={"error": ["all"], "silence": ["NoNodesSelected"]},
        )
    )
    assert found.get("threads") == (3 if command != "list" else None)
    assert found["vars"] == {"a": 1}
    for name, flag in (
        ("fullRefresh", "full_refresh"),
        ("failFast", "fail_fast"),
        ("empty", "empty"),
    ):
        if name in options:
            assert found[flag] is True
    if "select" in options:
        assert [value for values in found["select"] for value in values.split()] == options[
            "select"
        ]
    assert ("event_time_start" in found and found["event_time_start"] is not None) == (
        command in ("build", "run")
    )


@pytest.mark.parametrize(
    "window",
    [
        "3 days",
        "1 hour",
        "12 months",
        "{'start': '2024-01-01', 'end': '2024-01-08 18:00:00'}",
        "{start: '2024-01-01', end: '2024-01-08T18:00:00'}",
        '{"start": "2024-01-01", "end": "2024-01-08"}',
    ],
)
@pytest.mark.parametrize("command", ["build", "run"])
def test_a_sample_is_read_by_dbt(command: str, window: str) -> None:
    assert "start" in understood(args({command: {"sample": window}}))["sample"]


@pytest.mark.parametrize(
    "window", ["3 weeks", "0 days", "days", "-1 days", "{}", "{start: x, end: y}", "--target prod"]
)
def test_a_sample_that_dbt_would_not_read_is_refused(window: str) -> None:
    with pytest.raises(ValidationError):
        Step.model_validate({"build": {"sample": window}})


def test_what_a_list_prints_can_be_chosen() -> None:
    found = understood(
        args({"list": {"output": "json", "outputKeys": ["name"], "resourceTypes": ["model"]}})
    )
    assert (found["output"], found["output_keys"], found["resource_types"]) == (
        "json",
        ["name"],
        ["model"],
    )


def test_warnings_as_errors() -> None:
    assert args({"build": {}}, warnError=True)[-1] == "--warn-error"
    assert args({"docs": {}}, warnErrorOptions={"error": ["all"], "warn": ["NoNodesSelected"]})[
        -2:
    ] == [
        "--warn-error-options",
        '{"error":"all","warn":["NoNodesSelected"]}',
    ]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, ["--warn-error-options", '{"error":["LogTestResult"]}']),
        (
            {
                "warnErrorOptions": {
                    "error": ["NoNodesSelected"],
                    "silence": ["UnusedResourceConfigPath"],
                }
            },
            [
                "--warn-error-options",
                '{"error":["NoNodesSelected","LogTestResult"],"silence":["UnusedResourceConfigPath"]}',
            ],
        ),
        (
            {"warnErrorOptions": {"error": ["all"], "warn": ["NoNodesSelected"]}},
            ["--warn-error-options", '{"error":"all","warn":["NoNodesSelected"]}'],
        ),
        (
            {"warnErrorOptions": {"error": ["LogTestResult"]}},
            ["--warn-error-options", '{"error":["LogTestResult"]}'],
        ),
        ({"warnError": True}, ["--warn-error"]),
    ],
)
def test_a_gate_for_warnings_is_added_to_what_else_is_an_error(
    spec: dict[str, Any], expected: list[str]
) -> None:
    found = args({"build": {}}, gate={"failOn": "Warn"}, **spec)
    assert found == ["build", *expected]
    understood(found)
    assert args({"build": {}}, gate={"failOn": "Error"}, **spec) == args({"build": {}}, **spec)


def test_dbt_refuses_an_option_that_it_does_not_know() -> None:
    with pytest.raises(click.UsageError, match="--no-such-option"):
        understood(["build", "--no-such-option"])
