"""Which variables dbt reads as flags, and what becomes of those that an image sets."""

from __future__ import annotations

import json
import subprocess

import pytest

from dbt_operator.planning.attempt.dbt_args import SUBCOMMANDS
from dbt_protocol import flag_variables
from dbt_protocol.flag_variables import ALL, PREFIX, complaint, find_changing, is_flag, without_own
from tests.cluster.state import REPOSITORY
from tests.support.pods import BIN

DBT_FLAGS = REPOSITORY / "tests" / "support" / "dbt_flags.py"
COMMANDS = [
    "deps",
    *(
        " ".join(word for word in words if not word.startswith("-"))
        for words in SUBCOMMANDS.values()
    ),
]


@pytest.mark.dbt
def test_the_list_is_what_the_commands_of_this_dbt_read() -> None:
    program = [f"{BIN}/python", str(DBT_FLAGS), *COMMANDS]
    read = set(
        json.loads(subprocess.run(program, check=True, text=True, stdout=subprocess.PIPE).stdout)
    )
    plain = {name for name in read if not name.startswith(PREFIX)}
    assert plain == {name for name in ALL if not name.startswith(PREFIX)}
    own_prefix_only = {
        name for name in read - plain if name.replace(PREFIX, "DBT_", 1) not in plain
    }
    assert own_prefix_only <= ALL, "which of them are harmless is known"
    assert all(is_flag(name) for name in read)


def test_every_name_is_of_one_kind() -> None:
    kinds = (
        flag_variables.OWN,
        flag_variables.HARMLESS,
        ALL - flag_variables.OWN - flag_variables.HARMLESS,
    )
    assert sum(map(len, kinds)) == len(ALL)


@pytest.mark.parametrize(
    ("env", "found"),
    [
        (
            {"DBT_FULL_REFRESH": "true", "DBT_EMPTY": "1", "PATH": "/bin"},
            ["DBT_EMPTY", "DBT_FULL_REFRESH"],
        ),
        ({"DBT_ENGINE_FULL_REFRESH": "true"}, ["DBT_ENGINE_FULL_REFRESH"]),
        ({"DBT_ENGINE_TARGET": "dev"}, ["DBT_ENGINE_TARGET"]),
        ({"DBT_ENGINE_USE_V2_PARSER": "true"}, ["DBT_ENGINE_USE_V2_PARSER"]),
        ({"DBT_FULL_REFRESH": ""}, []),
        ({"DBT_LOG_FORMAT": "json", "DBT_ENGINE_LOG_FORMAT": "json", "DBT_QUIET": "1"}, []),
        ({"DBT_TARGET": "prod", "DBT_WRITE_JSON": "true"}, []),
        (
            {"DBT_ENGINE_SQLPARSE": "{}", "DBT_ENGINE_PACKAGE_HUB_URL": "https://hub.example.com"},
            [],
        ),
        ({"DBT_MY_SCHEMA": "x", "DBT_ENV_SECRET_TOKEN": "x", "DBT_HOST": "warehouse"}, []),
    ],
)
def test_what_an_image_may_not_set(env: dict[str, str], found: list[str]) -> None:
    assert find_changing(env) == found
    assert all(name in complaint(found) for name in found)


def test_what_dbt_would_prefer_to_the_runners_own_is_dropped() -> None:
    env = {
        "DBT_ENGINE_TARGET": "dev",
        "DBT_ENGINE_WRITE_JSON": "false",
        "DBT_ENGINE_QUIET": "1",
        "A": "b",
    }
    assert without_own(env) == {"DBT_ENGINE_QUIET": "1", "A": "b"}
