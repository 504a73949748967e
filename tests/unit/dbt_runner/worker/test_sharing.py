"""Which windows may share a parse: those that give all of its reads the same values."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbt_protocol.plans import RunPlan, Step, Window
from dbt_runner.worker.parse_reads import NEVER, NO_FILE, Reads
from dbt_runner.worker.sharing import code, differing, find_obstacle

VARS = '{"ds":"$(window.start)","region":"emea"}'


def plan(*words: str) -> RunPlan:
    argv = ["build", *(words or ("--vars", VARS))]
    window = Window("a", {"window.start": "2024-01-01"})
    steps = [Step("1-build", "build", argv)]
    return RunPlan("ns", "run", "uid", 1, "/project", "prod", steps, windows=[window])


def read(*names: str, file: str = "shop://models/m.sql") -> Reads:
    return {file: dict.fromkeys(names, "digest")}


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["var.region", "flags.WHICH", "target.name", "invocation_args_dict.which"], ""),
        (["var.ds"], "models/m.sql asks for var('ds') while it is parsed"),
        (["var"], "models/m.sql asks for var while it is parsed"),
        (["invocation_args_dict"], "models/m.sql asks for invocation_args_dict while"),
        (["invocation_args_dict.vars"], "models/m.sql asks for invocation_args_dict.vars while"),
    ],
)
def test_what_was_read_decides(names: list[str], why: str) -> None:
    assert find_obstacle(plan(), [read("var.other"), read(*names)]).startswith(why)
    assert bool(find_obstacle(plan(), [read(*names)])) is bool(why)


def test_what_is_never_the_same_is_not_shared() -> None:
    """A window is a run of its own."""
    assert find_obstacle(plan("--full-refresh"), [{NO_FILE: {"run_started_at": NEVER}}]) == (
        "the project asks for run_started_at while it is parsed"
    )


@pytest.mark.parametrize(
    ("flag", "part"),
    [
        ("--event-time-start", "event_time_start"),
        ("--select", "select"),
        ("-m", "models"),
        ("--args", "args"),
    ],
)
def test_flags_that_take_no_part_in_parsing_can_be_read(flag: str, part: str) -> None:
    words = plan(flag, "$(window.start)")
    assert find_obstacle(words, [read("var.ds", f"invocation_args_dict.other{part}")]) == ""
    assert find_obstacle(words, [read(f"invocation_args_dict.{part}")])
    assert find_obstacle(words, [read("invocation_args_dict")])


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
def test_what_windows_differ_in(words: list[str], names: set[str], why: str) -> None:
    assert differing(plan(*words)) == (names, why)
    assert find_obstacle(plan(*words), []) == why


def test_packages_that_are_linked_into_the_project_are_code_of_it(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local/m.sql").write_text("")
    (tmp_path / "local/README.md").write_text("")
    (tmp_path / "project/dbt_packages").mkdir(parents=True)
    (tmp_path / "project/.git").mkdir()
    (tmp_path / "project/.git/config.yml").write_text("")
    (tmp_path / "project/dbt_packages/local").symlink_to(tmp_path / "local")
    (tmp_path / "local/loop").symlink_to(tmp_path / "project")
    assert list(code(tmp_path / "project")) == [tmp_path / "project/dbt_packages/local/m.sql"]
