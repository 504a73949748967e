"""Whether the table holds all of dbt's flags, and the page for people all of the table."""

from __future__ import annotations

import ast
import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from dbt_operator.planning.attempt.dbt_args import SUBCOMMANDS
from dbt_protocol.flag_table import (
    BEHAVIOURS,
    FLAGS,
    HONOURED_PATHS,
    OTHER_VARIABLES,
    OVERRULED_PATHS,
    PREFIX,
    UNUSED_PATHS,
    Flag,
    Treatment,
)
from tests.support.pages import check_part
from tests.support.places import OPERATOR, ROOT
from tests.support.pods import BIN, NEWEST, VERSION

PAGE = ROOT / "docs" / "flags.md"
DBT_FLAGS = ROOT / "tests" / "support" / "dbt_flags.py"
COMMANDS = [
    "deps",
    *(
        " ".join(word for word in words if not word.startswith("-"))
        for words in SUBCOMMANDS.values()
    ),
]
BY_NAME = {flag.name: flag for flag in FLAGS}
# In dbt's code, and no variables: parts of names, marks in texts, and flags of commands that are
# never run.
NO_VARIABLES = {
    "DBT_CLEAN_PROJECT_FILES_ONLY",
    "DBT_DEFAULT_PLACEHOLDER",
    "DBT_ENGINE",
    "DBT_ENGINE_SKIP_BROWSER_AUTH",
    "DBT_ENV_CUSTOM_ENV_",
    "DBT_ENV_PRIVATE",
    "DBT_ENV_SECRET",
    "DBT_ENV_SECRETS_GIT_TOKEN_",
    "DBT_HOST",
    "DBT_INVOCATION_CONTEXT_VAR",
    "DBT_SECRET_END",
    "DBT_SECRET_START",
}


@pytest.fixture(scope="module")
def read() -> dict[str, Any]:
    """What the dbt at hand reads."""
    program = [f"{BIN}/python", str(DBT_FLAGS), *COMMANDS]
    told = subprocess.run(program, check=True, text=True, stdout=subprocess.PIPE).stdout
    found: dict[str, Any] = json.loads(told)
    return found


def strip(variable: str) -> str:
    return variable.replace(PREFIX, "DBT_", 1)


@pytest.mark.dbt
def test_the_table_holds_every_flag_of_the_commands_that_are_run(read: dict[str, Any]) -> None:
    assert read["flags"].keys() <= BY_NAME.keys()
    for name, variables in read["flags"].items():
        known = BY_NAME[name].variable
        assert {strip(each) for each in variables} == ({strip(known)} if known else set()), name
        prefixed_only = bool(variables) and all(each.startswith(PREFIX) for each in variables)
        assert prefixed_only is BY_NAME[name].prefixed_only, name


@pytest.mark.dbt
def test_the_table_holds_every_flag_of_a_project(read: dict[str, Any]) -> None:
    known = {flag.name for flag in FLAGS if flag.project} | BEHAVIOURS
    found = set(read["project_flags"])
    assert set(read["behaviours"]) <= BEHAVIOURS
    assert found <= known
    # What stands in the table is read by some version: the newest has not dropped any.
    assert VERSION != NEWEST or found == known


@pytest.mark.dbt
def test_the_table_holds_every_flag_of_some_version(read: dict[str, Any]) -> None:
    assert VERSION != NEWEST or read["flags"].keys() == BY_NAME.keys()


@pytest.mark.dbt
def test_the_table_holds_every_variable_that_stands_in_the_code_of_dbt(
    read: dict[str, Any],
) -> None:
    known = {flag.variable for flag in FLAGS} | OTHER_VARIABLES.keys() | NO_VARIABLES
    assert {word for word in read["words"] if not {word, strip(word)} & known} == set()


@pytest.mark.dbt
def test_the_table_holds_every_path_of_a_project(read: dict[str, Any]) -> None:
    found = {key for key in read["project_keys"] if key.endswith(("-path", "-paths", "-targets"))}
    assert found <= OVERRULED_PATHS | UNUSED_PATHS | HONOURED_PATHS


def test_every_flag_stands_once() -> None:
    assert max(Counter(flag.name for flag in FLAGS).values()) == 1
    names = [flag.variable for flag in FLAGS if flag.variable]
    assert len(names) == len(set(names))


def options_of_operator() -> set[str]:
    """The options that stand in the module that makes command lines."""
    path = OPERATOR / "dbt_operator" / "planning" / "attempt" / "dbt_args.py"
    nodes = ast.walk(ast.parse(path.read_text()))
    texts = {node.value for node in nodes if isinstance(node, ast.Constant)}
    return {text for text in texts if isinstance(text, str) and text.startswith("--")}


def test_a_field_that_the_table_names_is_what_makes_the_option() -> None:
    with_field = {flag.name for flag in FLAGS if flag.field}
    options = {option.strip("-").replace("-", "_") for option in options_of_operator()}
    assert options == with_field - {"macro"}, "an argument, and no option"


# The page


def rows() -> Iterator[str]:
    for flag in FLAGS:
        places = (describe_image(flag), flag.project or "-", flag.field or "-")
        yield f"| `{flag.name}` | {' | '.join(places)} |"


def describe_image(flag: Flag) -> str:
    return f"{flag.image}: `{flag.variable}`" if flag.image else "-"


def behaviours() -> Iterator[str]:
    return (f"- `{name}`" for name in sorted(BEHAVIOURS))


def others() -> Iterator[str]:
    return (f"| `{name}` | {what} |" for name, what in OTHER_VARIABLES.items())


def paths() -> Iterator[str]:
    told = dict.fromkeys(OVERRULED_PATHS, Treatment.OVERRULED.value)
    told |= dict.fromkeys(UNUSED_PATHS, "Without effect: `dbt clean` is never run")
    told |= dict.fromkeys(HONOURED_PATHS, Treatment.HONOURED.value)
    return (f"| `{path}` | {what} |" for path, what in sorted(told.items()))


PARTS = {"flags": rows, "behaviours": behaviours, "variables": others, "paths": paths}


@pytest.mark.parametrize("part", PARTS)
def test_the_page_tells_of_the_whole_table(part: str) -> None:
    check_part(PAGE, part, PARTS[part]())
