from __future__ import annotations

import pytest

from dbt_operator.common.settings import Settings, SettingsError

IMAGE = {"DBT_OPERATOR_RUNNER_IMAGE": "runner:1"}
AWAITED = "DBT_OPERATOR_AWAITED_KINDS"
LOAD = '{"group": "example.com", "version": "v1", "plural": "loads", "kind": "Load"}'


def test_defaults() -> None:
    assert Settings.from_environment(IMAGE) == Settings(runner_image="runner:1")


def test_everything() -> None:
    found = Settings.from_environment(
        IMAGE
        | {
            "DBT_OPERATOR_NAMESPACES": "a, b",
            "DBT_OPERATOR_WORKERS": "8",
            "DBT_OPERATOR_LOG_LEVEL": "debug",
        }
    )
    assert (found.namespaces, found.workers, found.log_level) == (("a", "b"), 8, "DEBUG")


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "DBT_OPERATOR_RUNNER_IMAGE"),
        (IMAGE | {"DBT_OPERATOR_WORKERS": "many"}, "DBT_OPERATOR_WORKERS"),
        (IMAGE | {"DBT_OPERATOR_RESYNC_SECONDS": "0"}, "DBT_OPERATOR_RESYNC_SECONDS"),
        (IMAGE | {AWAITED: "["}, AWAITED),
        (IMAGE | {AWAITED: '{"kind": "Load"}'}, "it is no list of kinds"),
        (IMAGE | {AWAITED: '[{"kind": "Load"}]'}, "Load needs group and version and plural"),
        (IMAGE | {AWAITED: f"[{LOAD}]"}, "Load needs either condition or field"),
    ],
)
def test_what_is_missing_or_wrong_is_named(environment: dict[str, str], name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_environment(environment)
