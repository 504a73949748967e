from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dbt_operator.api.run import COMMANDS, DbtRun, Step
from dbt_operator.planning.dbt_args import argv
from tests.unit.operator.builders import run


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
        ({"build": {"fullRefresh": True, "failFast": True}}, ["build", "--full-refresh", "--fail-fast"]),
        ({"run": {"fullRefresh": False}}, ["run"]),
        ({"test": {"select": ["x"]}}, ["test", "--select", "x"]),
        ({"seed": {"fullRefresh": True}}, ["seed", "--full-refresh"]),
        ({"snapshot": {}}, ["snapshot"]),
        ({"docs": {}}, ["docs", "generate", "--static"]),
        ({"sourceFreshness": {"select": ["source:x"]}}, ["source", "freshness", "--select", "source:x"]),
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


def test_every_command_of_the_api_has_an_argv() -> None:
    for command in COMMANDS:
        assert args({command: {"macro": "m"} if command == "runOperation" else {}})
