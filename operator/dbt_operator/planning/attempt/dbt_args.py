"""A typed step to dbt's argv. Lists only: nothing is ever put into a shell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dbt_operator.api.base import Model
from dbt_operator.api.kinds.run import DbtRunSpec
from dbt_operator.api.parts.steps import RunOperation, Step
from dbt_protocol.paths import STATE

SUBCOMMANDS = {
    "build": ["build"],
    "run": ["run"],
    "test": ["test"],
    "seed": ["seed"],
    "snapshot": ["snapshot"],
    "compile": ["compile"],
    "list": ["list"],
    "clone": ["clone"],
    "docs": ["docs", "generate", "--static"],
    "sourceFreshness": ["source", "freshness"],
    "runOperation": ["run-operation"],
}
_LISTS = {
    "select": "--select",
    "exclude": "--exclude",
    "resource_types": "--resource-types",
    "exclude_resource_types": "--exclude-resource-types",
    "output_keys": "--output-keys",
}
_VALUES = {
    "selector": "--selector",
    "indirect_selection": "--indirect-selection",
    "sample": "--sample",
    "output": "--output",
}
_FLAGS = {
    "full_refresh": "--full-refresh",
    "fail_fast": "--fail-fast",
    "store_failures": "--store-failures",
    "empty": "--empty",
}
_TEST_WARNS = (
    "LogTestResult"  # dbt asks for it by this name before it lets a test warn instead of fail
)
_WITHOUT_THREADS = ("list",)
_WITH_EVENT_TIME = ("build", "run")


def argv(step: Step, spec: DbtRunSpec, *, compared: bool = False) -> list[str]:
    """The arguments of dbt for a step of a run, without the program's name.

    Args:
        step: the step.
        spec: of the run.
        compared: whether there is a state to compare with.
    """
    arguments = list(SUBCOMMANDS[step.command])
    if isinstance(step.options, RunOperation):
        arguments += _operation(step.options)
    else:
        arguments += _options(step.options)
    if spec.vars:
        arguments += ["--vars", _json(spec.vars)]
    if spec.threads and step.command not in _WITHOUT_THREADS:
        arguments += ["--threads", str(spec.threads)]
    if spec.event_time and step.command in _WITH_EVENT_TIME:
        bounds = [_bound(spec.event_time.start), _bound(spec.event_time.end)]
        arguments += ["--event-time-start", bounds[0], "--event-time-end", bounds[1]]
    if compared and step.command != "runOperation":
        arguments += _state(spec)
    return arguments + _warnings(spec)


def _bound(text: str) -> str:
    """A bound of a window is another text here than in vars: dbt takes UTC, without an offset."""
    return text.replace("$(window.", "$(event.")


def _state(spec: DbtRunSpec) -> list[str]:
    state = spec.state
    arguments = ["--state", STATE]
    if state and state.defer:
        arguments.append("--defer")
    if state and state.favor_state:
        arguments.append("--favor-state")
    return arguments


def _warnings(spec: DbtRunSpec) -> list[str]:
    if spec.warn_error:
        return ["--warn-error"]
    options = spec.warn_error_options.to_dict() if spec.warn_error_options else {}
    if spec.fails_on_warn and options.get("error") != ["all"]:
        options["error"] = [
            *(name for name in options.get("error", ()) if name != _TEST_WARNS),
            _TEST_WARNS,
        ]
    if not options:
        return []
    if options.get("error") == ["all"]:
        options["error"] = "all"  # a word of its own for dbt, not the name of a warning
    return ["--warn-error-options", _json(options)]


def _operation(options: RunOperation) -> list[str]:
    return [options.macro, *(["--args", _json(options.args)] if options.args else [])]


def _options(options: Model) -> list[str]:
    arguments: list[str] = []
    for field, flag in _LISTS.items():
        if values := getattr(options, field, None):
            arguments += [flag, *values]
    for field, flag in _VALUES.items():
        if value := getattr(options, field, None):
            arguments += [flag, value]
    return arguments + [flag for field, flag in _FLAGS.items() if getattr(options, field, None)]


def _json(value: Mapping[str, Any]) -> str:
    """One argument; sorted, so that equal vars are equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
