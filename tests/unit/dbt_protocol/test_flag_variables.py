"""Which variables dbt reads as flags, and what becomes of those that an image sets."""

from __future__ import annotations

import pytest

from dbt_protocol.flag_table import FLAGS, OTHER_VARIABLES, PREFIX, Treatment
from dbt_protocol.flag_variables import (
    OWN,
    SHOWN,
    complaint,
    find_changing,
    find_changing_flags,
    find_remedy,
    is_flag,
    overrule,
    without_own,
)

REFUSED = [
    *(flag.variable for flag in FLAGS if flag.image is Treatment.REFUSED),
    *(name for name, what in OTHER_VARIABLES.items() if what is Treatment.REFUSED),
]
ALLOWED = [
    flag.variable for flag in FLAGS if flag.image in (Treatment.HONOURED, Treatment.DEFAULTED)
]


def prefixed(name: str) -> str:
    return name if name.startswith(PREFIX) else name.replace("DBT_", PREFIX, 1)


@pytest.mark.parametrize("name", REFUSED)
def test_what_changes_a_run_is_found_by_either_name(name: str) -> None:
    for each in (name, prefixed(name)):
        assert find_changing({each: "x", "PATH": "/bin"}) == [each]
        assert each in complaint([each])
        assert is_flag(each)


@pytest.mark.parametrize("name", ALLOWED)
def test_what_only_changes_what_is_shown_may_stay(name: str) -> None:
    assert find_changing({name: "x", prefixed(name): "x"}) == []
    assert is_flag(name)


@pytest.mark.parametrize("name", ["DBT_TARGET_PATH", "DBT_ENGINE_MANAGE_STATE"])
def test_what_the_runner_says_counts(name: str) -> None:
    env = {name: "theirs", prefixed(name): "theirs"}
    overrule(env, **{name: "ours"})
    assert env == {name: "ours"}


@pytest.mark.parametrize("name", sorted(OWN))
def test_what_the_runner_sets_is_its_own_by_either_name(name: str) -> None:
    assert find_changing({name: "x"}) == []
    # Some have that name only.
    others = {prefixed(name)} - {name}
    assert find_changing(dict.fromkeys(others, "x")) == sorted(others)
    assert without_own({prefixed(name): "x", "A": "b"}) == {"A": "b"}
    assert is_flag(name)


@pytest.mark.parametrize(
    ("env", "found"),
    [
        (
            {"DBT_FULL_REFRESH": "true", "DBT_EMPTY": "1", "PATH": "/bin"},
            ["DBT_EMPTY", "DBT_FULL_REFRESH"],
        ),
        ({"DBT_FULL_REFRESH": ""}, []),
        (
            {"DBT_ENGINE_SQLPARSE": "{}", "DBT_ENGINE_PACKAGE_HUB_URL": "https://hub.example.com"},
            [],
        ),
        ({"DBT_MY_SCHEMA": "x", "DBT_ENV_SECRET_TOKEN": "x", "DBT_HOST": "warehouse"}, []),
    ],
)
def test_what_an_image_may_not_set(env: dict[str, str], found: list[str]) -> None:
    assert find_changing(env) == found


def test_what_dbt_would_prefer_to_what_is_set_is_taken_away() -> None:
    env = {"DBT_ENGINE_STATIC_PARSER": "true", "DBT_ENGINE_QUIET": "1"}
    overrule(env, DBT_STATIC_PARSER="false")
    assert env == {"DBT_STATIC_PARSER": "false", "DBT_ENGINE_QUIET": "1"}


def test_many_names_leave_room_for_the_remedy() -> None:
    told = complaint([f"DBT_{number}" for number in range(SHOWN + 2)])
    assert f"sets DBT_0, DBT_1, DBT_2, DBT_3, DBT_{SHOWN - 1} and 2 more, which" in told


def test_flags_are_found_by_their_own_names() -> None:
    assert find_changing_flags(["quiet", "full_refresh", "write_json", "x"]) == ["full_refresh"]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("DBT_EMPTY", "set empty in a step of the DbtRun"),
        ("DBT_DEFER_TO_STATE", "set spec.state of the DbtRun"),
        ("DBT_USE_COLORS", "set it in the image"),
        ("DBT_WRITE_JSON", ""),
        ("DBT_RECORDER_MODE", ""),
        ("DBT_ENGINE_EMPTY", ""),
    ],
)
def test_there_is_another_way_to_say_it(name: str, remedy: str) -> None:
    assert find_remedy(name) == remedy
