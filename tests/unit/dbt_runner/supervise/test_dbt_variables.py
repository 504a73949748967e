"""The variables that dbt gets."""

from __future__ import annotations

from pathlib import Path

from dbt_runner.layout import Layout
from dbt_runner.supervise.dbt_variables import make_variables
from tests.support.pods import Pod, step


def test_dbt_gets_its_variables(tmp_path: Path) -> None:
    plan = Pod(tmp_path / "pod", {}).plan(step("build"))
    given = {
        "HOME": "/no/such/home",
        "DBT_OPERATOR_PLAN": "x",
        "DBT_USE_COLORS": "true",
        "OTHER": "1",
    }
    env = make_variables(Layout(), plan, given)
    assert env["HOME"] == "/tmp"  # noqa: S108 - only named
    assert env["DBT_USE_COLORS"] == "true"
    assert env["OTHER"] == "1"
    assert (env["DBT_TARGET"], env["DBT_PROFILES_DIR"]) == ("prod", "/dbt-operator-profiles")
    assert env["DBT_SEND_ANONYMOUS_USAGE_STATS"] == "false"
    assert env["DBT_ENV_CUSTOM_ENV_RUN_UID"] == "uid-1"
    assert not any(name.startswith(("DBT_ENGINE_", "DBT_OPERATOR_")) for name in env)
