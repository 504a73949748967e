from __future__ import annotations

from typing import Any

import pytest

from dbt_operator.api.kinds.project import DbtProject
from dbt_operator.api.kinds.run import DbtRun
from dbt_operator.api.kinds.target import DbtTarget
from dbt_operator.planning import project as project_planner
from dbt_operator.planning import target as target_planner
from dbt_operator.planning.common.identity import Identity
from dbt_operator.planning.policy.refusals import refusal
from tests.support.builders import NOW, project, run, target

PINNED = "registry.example.com/dbt@sha256:" + "0" * 64


def refused(
    run_spec: dict[str, Any],
    project_spec: dict[str, Any] | None = None,
    target_spec: dict[str, Any] | None = None,
) -> str:
    return refusal(
        DbtRun.model_validate(run(**run_spec)).spec,
        DbtProject.model_validate(project(**(project_spec or {}))).spec,
        DbtTarget.model_validate(target(**(target_spec or {}))).spec,
    )


SECRET = {"name": "PGPASSWORD", "value": "hunter2"}


@pytest.mark.parametrize(
    ("specs", "path"),
    [
        (
            ({"vars": {"a": [{"db_password": "hunter2"}]}},),
            "spec.vars.a[0].db_password looks like a password",
        ),
        (
            (
                {
                    "steps": [
                        {"build": {}},
                        {"runOperation": {"macro": "m", "args": {"token": "hunter2"}}},
                    ]
                },
            ),
            "spec.steps[1].runOperation.args.token looks like a token",
        ),
        (({"env": [{"name": "A", "value": "b"}, SECRET]},), "spec.env[1] (PGPASSWORD) looks like"),
        (({}, {"env": [SECRET]}), "spec.env[0] (PGPASSWORD) of the DbtProject shop looks like"),
        (({}, {}, {"env": [SECRET]}), "spec.env[0] (PGPASSWORD) of the DbtTarget prod looks like"),
    ],
)
def test_a_plain_secret_is_refused_by_its_path_and_never_repeated(
    specs: tuple[Any, ...], path: str
) -> None:
    message = refused(*specs)
    assert message.startswith(path)
    assert "put it into a Secret" in message
    assert "hunter2" not in message


def test_what_comes_from_a_secret_is_not_refused() -> None:
    env = [{"name": "PGPASSWORD", "secretKeyRef": {"name": "warehouse", "key": "password"}}]
    assert refused({"env": [{"name": "SCHEMA", "value": "x"}]}, {"env": env}, {"env": env}) == ""


ALIAS = {"ip": "192.0.2.1", "hostnames": ["warehouse.example.com"]}
FULL_REFRESH = {"name": "DBT_FULL_REFRESH", "value": "true"}
LD_AUDIT = {"name": "LD_AUDIT", "value": "/project/audit.so"}


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        (SECRET, "spec.env[0] (PGPASSWORD) looks like"),
        (FULL_REFRESH, "spec.env[0] (DBT_FULL_REFRESH) is read by dbt as a flag"),
        (LD_AUDIT, "spec.env[0] (LD_AUDIT) is read by the dynamic loader"),
    ],
)
def test_projects_and_targets_say_so_before_any_run_does(
    variable: dict[str, str], words: str
) -> None:
    identity = Identity("analytics", "x", "uid", 1)
    plans = (
        project_planner.plan(DbtProject.model_validate(project(env=[variable])), identity, NOW),
        target_planner.plan(DbtTarget.model_validate(target(env=[variable])), identity, NOW),
    )
    for found in plans:
        assert found.status is not None
        stalled = next(c for c in found.status.to_dict()["conditions"] if c["type"] == "Stalled")
        assert (stalled["status"], stalled["reason"]) == ("True", "InvalidSpec")
        assert words in stalled["message"]


@pytest.mark.parametrize(
    ("specs", "path"),
    [
        (({"env": [FULL_REFRESH]},), "spec.env[0] (DBT_FULL_REFRESH) is read by dbt as a flag"),
        (({}, {"env": [FULL_REFRESH]}), "spec.env[0] (DBT_FULL_REFRESH) of the DbtProject shop is"),
        (
            ({}, {}, {"env": [{"name": "A", "value": "b"}, FULL_REFRESH]}),
            "spec.env[1] (DBT_FULL_REFRESH) of the DbtTarget prod is",
        ),
    ],
)
def test_a_flag_in_any_environment_is_refused(specs: tuple[Any, ...], path: str) -> None:
    message = refused(*specs)
    assert message.startswith(path)
    assert "set fullRefresh in a step of the DbtRun" in message


def test_a_flag_is_refused_by_its_name_wherever_its_value_comes_from() -> None:
    reference = {"name": "settings", "key": "refresh"}
    for kind in ("secretKeyRef", "configMapKeyRef"):
        env = [{"name": "DBT_FULL_REFRESH", kind: reference}]
        assert "spec.env[0] (DBT_FULL_REFRESH) of the DbtProject shop" in refused({}, {"env": env})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("DBT_EMPTY", "set empty in a step of the DbtRun"),
        ("DBT_SAMPLE", "set sample in a step of the DbtRun"),
        ("DBT_WARN_ERROR", "set spec.warnError of the DbtRun"),
        ("DBT_EXCLUDE_RESOURCE_TYPES", "set excludeResourceTypes in a step of the DbtRun"),
        ("DBT_PARTIAL_PARSE", "set spec.parseCache of the DbtProject"),
        ("DBT_LOG_FORMAT", "set it under flags in dbt_project.yml"),
        ("DBT_WRITE_JSON", "remove it"),
        ("DBT_USE_COLORS", "set it in the image"),
        ("DBT_RECORDER_MODE", "remove it"),
        ("DBT_ENGINE_FULL_REFRESH", "remove it"),
        ("DBT_ENGINE_WHATEVER", "remove it"),
        ("DBT_MY_SCHEMA", ""),
        ("DBT_HOST", ""),
        ("DBT_USER", ""),
        ("DBT_ENV_CUSTOM_ENV_TEAM", ""),
        ("DBT_ENV_SECRET_TOKEN", ""),
        ("DBT_PACKAGE_HUB_URL", ""),
    ],
)
def test_names_that_dbt_reads_as_no_flag_are_the_projects_own(name: str, words: str) -> None:
    message = refused({}, {"env": [{"name": name, "value": "x"}]})
    assert words in message
    assert bool(message) == bool(words)


@pytest.mark.parametrize(
    ("run_spec", "project_spec", "words"),
    [
        ({}, {"image": PINNED}, ""),
        ({"steps": [{"build": {"fullRefresh": False, "empty": False}}]}, {"image": PINNED}, ""),
        (
            {"steps": [{"build": {}}, {"run": {"fullRefresh": True}}]},
            {},
            "spec.steps[1].run.fullRefresh is refused",
        ),
        (
            {"steps": [{"seed": {"fullRefresh": True}}]},
            {},
            "spec.steps[0].seed.fullRefresh is refused",
        ),
        (
            {"steps": [{"clone": {"fullRefresh": True}}]},
            {},
            "spec.steps[0].clone.fullRefresh is refused",
        ),
        ({"steps": [{"snapshot": {"empty": True}}]}, {}, "spec.steps[0].snapshot.empty is refused"),
        ({"steps": [{"build": {"sample": "3 days"}}]}, {}, "spec.steps[0].build.sample is refused"),
        ({"env": [{"name": "SCHEMA", "value": "x"}]}, {"image": PINNED}, "spec.env is refused"),
        ({}, {}, "spec.image of the DbtProject shop must be pinned by a digest"),
        (
            {},
            {"image": PINNED, "source": {"configMap": {"name": "c"}}},
            "spec.source.configMap of the DbtProject shop",
        ),
        (
            {},
            {"image": PINNED, "pod": {"hostAliases": [ALIAS]}},
            "spec.pod.hostAliases of the DbtProject shop must not say where hosts are",
        ),
        (
            {},
            {"image": PINNED, "pod": {"dnsConfig": {"nameservers": ["192.0.2.1"]}}},
            "spec.pod.dnsConfig.nameservers of the DbtProject shop must not",
        ),
        (
            {},
            {"image": PINNED, "pod": {"dnsConfig": {"searches": ["example.com"]}}},
            "spec.pod.dnsConfig.searches of the DbtProject shop must not",
        ),
        ({}, {"image": PINNED, "pod": {"dnsConfig": {"options": [{"name": "ndots"}]}}}, ""),
        ({}, {"image": PINNED, "pod": {"runAsUser": 1000}}, ""),
    ],
)
def test_what_a_protected_target_refuses(
    run_spec: dict[str, Any], project_spec: dict[str, Any], words: str
) -> None:
    message = refused(run_spec, project_spec, {"protected": True})
    assert message.startswith(words)
    assert bool(message) == bool(words)
    assert not words or "DbtTarget prod" in message
    for unprotected in ({}, {"protected": False}):
        assert refused(run_spec, project_spec, unprotected) == ""
