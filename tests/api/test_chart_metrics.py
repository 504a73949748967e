"""What the chart has for Prometheus and Grafana: nothing, unless it is asked for."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from typing import Any

import pytest
import yaml

from tests.support.kube import ROOT
from tests.support.metrics_pages import NAMESPACE, read_dashboard, read_rules

CHART = ROOT / "charts" / "dbt-operator"
# Another value for each that there is, and what has to be there for it to mean anything.
OTHER = {
    "metrics.service": ("metrics.service=true",),
    "metrics.serviceMonitor.enabled": ("metrics.serviceMonitor.enabled=true",),
    "metrics.serviceMonitor.labels": (
        "metrics.serviceMonitor.enabled=true",
        "metrics.serviceMonitor.labels.release=x",
    ),
    "metrics.serviceMonitor.interval": (
        "metrics.serviceMonitor.enabled=true",
        "metrics.serviceMonitor.interval=1m",
    ),
    "metrics.rules.enabled": ("metrics.rules.enabled=true",),
    "metrics.rules.labels": ("metrics.rules.enabled=true", "metrics.rules.labels.release=x"),
    "metrics.dashboard.enabled": ("metrics.dashboard.enabled=true",),
    "metrics.dashboard.labels": ("metrics.dashboard.enabled=true", "metrics.dashboard.labels.x=y"),
}


def run_helm(*settings: str) -> subprocess.CompletedProcess[str]:
    argv = ["template", "x", str(CHART), "--kube-version=1.34.4", f"--namespace={NAMESPACE}"]
    return subprocess.run(
        ["helm", *argv, *(f"--set={each}" for each in settings)],
        capture_output=True,
        text=True,
        check=False,
    )


@cache
def template(*settings: str) -> list[dict[str, Any]]:
    done = run_helm(*settings)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def only(kind: str, *settings: str) -> dict[str, Any]:
    (found,) = (each for each in template(*settings) if each["kind"] == kind)
    return found


def test_it_is_all_off_by_default() -> None:
    kinds = {each["kind"] for each in template()}
    assert kinds.isdisjoint({"Service", "ServiceMonitor", "PrometheusRule", "ConfigMap"})


@pytest.mark.parametrize("value", OTHER)
def test_no_value_is_without_effect(value: str) -> None:
    *before, last = OTHER[value]
    assert template(*before, last) != template(*before)


@pytest.mark.parametrize(
    "wrong",
    [
        "metrics.serviceMonitor.interval=often",
        "metrics.rules.enable=true",
        "metrics.dashboard.labels.x=1",
    ],
)
def test_a_value_that_means_nothing_is_refused(wrong: str) -> None:
    assert run_helm(wrong).returncode != 0


def test_prometheus_finds_every_operator_by_the_monitor_and_its_service() -> None:
    service = only("Service", "metrics.serviceMonitor.enabled=true")
    monitor = only("ServiceMonitor", "metrics.serviceMonitor.enabled=true")
    deployment = only("Deployment")
    wanted = monitor["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["namespaceSelector"]["matchNames"] == [NAMESPACE]
    pod = deployment["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    (port,), (endpoint,) = service["spec"]["ports"], monitor["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == (port["name"], "/metrics")
    ports = {each["name"] for each in pod["spec"]["containers"][0]["ports"]}
    assert port["targetPort"] in ports
    assert endpoint["honorLabels"] is True
    assert service["spec"]["publishNotReadyAddresses"] is True


def test_the_rules_are_those_that_the_tests_of_the_alerts_read() -> None:
    rule = only("PrometheusRule", "metrics.rules.enabled=true", "metrics.rules.labels.a=b")
    assert rule["spec"] == read_rules()
    assert rule["metadata"]["labels"]["a"] == "b"


def test_grafana_finds_the_dashboard_by_its_label() -> None:
    found = only("ConfigMap", "metrics.dashboard.enabled=true")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["data"]["dbt-operator.json"]) == read_dashboard()
