"""Which names a run may set, with and without allowedRunEnv of its target."""

from __future__ import annotations

from typing import Any

import pytest

from dbt_operator.api.kinds.project import DbtProject
from dbt_operator.api.kinds.run import DbtRun
from dbt_operator.api.kinds.target import DbtTarget
from dbt_operator.planning.policy.refusals import refusal
from dbt_operator.planning.policy.variable_names import explain_refusal
from tests.support.builders import project, run, target

PINNED = "registry.example.com/dbt@sha256:" + "0" * 64
NEVER = [
    "PGHOSTADDR",
    "PGOPTIONS",
    "PGSERVICEFILE",
    "GIT_SSH_COMMAND",
    "GIT_CONFIG_COUNT",
    "PYTHONWARNINGS",
    "PYTHONSTARTUP",
    "PYTHONPATH",
    "LD_AUDIT",
    "LD_PRELOAD",
    "GCONV_PATH",
    "HTTPS_PROXY",
    "https_proxy",
    "Http_Proxy",
    "no_proxy",
    "PATH",
    "HOME",
    "TMPDIR",
    "DBT_OPERATOR_PLAN",
]
UNLESS_ALLOWED = [
    "BROWSER",
    "BASH_ENV",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "OPENSSL_CONF",
    "AWS_ENDPOINT_URL",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "JAVA_TOOL_OPTIONS",
    "KRB5_CONFIG",
    "ODBCSYSINI",
]
FREE = ["SCHEMA", "schema", "ENV", "MY_PGHOST", "SNOWFLAKE_SCHEMA", "DBT_MY_SCHEMA", "pgschema"]


def refused(name: str, allowed: list[str] | None, target_spec: dict[str, Any] | None = None) -> str:
    """Why a run with this variable is refused; and one of a project that has it is."""
    spec = target_spec or {}
    if allowed is not None:
        spec |= {"allowedRunEnv": allowed}
    return refusal(
        DbtRun.model_validate(run(env=[{"name": name, "value": "x"}])).spec,
        DbtProject.model_validate(project()).spec,
        DbtTarget.model_validate(target(**spec)).spec,
    )


@pytest.mark.parametrize("name", NEVER)
@pytest.mark.parametrize("allowed", [None, ["*"], ["PG*", "LD_AUDIT"]], ids=str)
def test_some_names_are_refused_whatever_the_target_says(
    name: str, allowed: list[str] | None
) -> None:
    message = refused(name, allowed)
    assert message.startswith(f"spec.env[0] ({name}) ")
    assert "remove it" in message or "set it there" in message


@pytest.mark.parametrize("name", UNLESS_ALLOWED)
def test_what_leads_elsewhere_has_to_be_allowed(name: str) -> None:
    message = refused(name, None)
    assert message.startswith(f"spec.env[0] ({name}) may lead")
    assert "spec.allowedRunEnv" in message
    assert "DbtTarget prod" in message
    assert refused(name, ["SCHEMA", name[:3] + "*"]) == ""


@pytest.mark.parametrize("name", FREE)
def test_a_target_that_lists_names_allows_these_alone(name: str) -> None:
    assert refused(name, None) == ""
    assert refused(name, [name]) == ""
    assert refused(name, [f"*{name[1:]}"]) == ""
    for others in ([], ["OTHER"], [name[1:]], [name + "_"], [f"{name}_*"]):
        message = refused(name, others)
        assert message.startswith(f"spec.env[0] ({name}) is none of the names")
        assert "spec.allowedRunEnv of the DbtTarget prod" in message


def test_a_flag_of_dbt_is_refused_whatever_the_target_says() -> None:
    assert "set fullRefresh in a step" in refused("DBT_FULL_REFRESH", ["*"])


@pytest.mark.parametrize("target_spec", [{}, {"allowedRunEnv": ["REGION"]}], ids=str)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("REGION", ""),
        ("PGHOSTADDR", "spec.env[0] (PGHOSTADDR) of the DbtProject shop would lead"),
        ("https_proxy", "spec.env[0] (https_proxy) of the DbtProject shop would lead"),
        ("BROWSER", "spec.env[0] (BROWSER) of the DbtProject shop "),
    ],
)
def test_a_protected_target_asks_the_same_of_projects(
    name: str, words: str, target_spec: dict[str, Any]
) -> None:
    reference = {"name": "settings", "key": "a"}
    for value in ({"value": "x"}, {"secretKeyRef": reference}, {"configMapKeyRef": reference}):
        spec = DbtProject.model_validate(project(image=PINNED, env=[{"name": name, **value}])).spec
        of_run = DbtRun.model_validate(run()).spec

        def ask(protected: bool, of_project: Any = spec, of_run: Any = of_run) -> str:
            whole = target(protected=protected, **target_spec)
            return refusal(of_run, of_project, DbtTarget.model_validate(whole).spec)

        assert ask(protected=False) == ""
        message = ask(protected=True)
        assert message.startswith(words)
        assert bool(message) == bool(words)
        assert not words or message.endswith("since the DbtTarget prod is protected")


def test_a_target_may_set_what_runs_may_not() -> None:
    env = [{"name": name, "value": "x"} for name in ("PGHOSTADDR", "PYTHONWARNINGS", "HTTP_PROXY")]
    assert refused("SCHEMA", None, {"env": env}) == ""


def test_a_pattern_takes_no_longer_for_being_hostile() -> None:
    assert explain_refusal("A" * 253, "prod", ["*A" * 100 + "B"] * 64) != ""
