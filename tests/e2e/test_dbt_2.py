"""A few ways for a run to end with the preview of dbt 2, in the image that images/dbt/2.0 makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.support import product
from tests.support.kube import apply, kubectl
from tests.support.scenarios import NAMESPACE, SCENARIOS, Scenario, location, manifests

_ALIKE = ("green", "failing-model", "stale")
DBT_2 = (
    *(
        replace(scenario, name=f"{scenario.name}-2-0", image="dbt-2.0")
        for scenario in SCENARIOS
        if scenario.name in _ALIKE
    ),
    Scenario(
        "docs-2-0",
        reason="ConfigError",
        message="does not do docs generate",
        image="dbt-2.0",
        run={"steps": [{"build": {}}, {"docs": {}}]},
    ),
)


@pytest.fixture(scope="module", autouse=True)
def _started(warehouse: None, images: Mapping[str, str]) -> None:  # noqa: ARG001 -- it has to be there first
    names = [scenario.name for scenario in DBT_2]
    kubectl("delete", "dbtruns", *names, "--ignore-not-found", "--wait", namespace=NAMESPACE)
    apply(*(manifest for scenario in DBT_2 for manifest in manifests(scenario, images)))


@pytest.mark.parametrize("scenario", DBT_2, ids=lambda scenario: scenario.name)
def test_it_ends_as_it_should(scenario: Scenario) -> None:
    run = product.wait_until_finished(scenario.name, NAMESPACE)
    status = run["status"]
    assert (status["phase"], status.get("reason")) == (scenario.phase, scenario.reason), status[
        "message"
    ]
    assert scenario.message in status["message"]
    assert (status["engine"], status["dbtVersion"][:2]) == ("Program", "2.")
    failures = [failure["uniqueId"] for failure in status.get("failures", ())]
    assert not scenario.failed or any(failure.startswith(scenario.failed) for failure in failures)
    kept = {path.rpartition("/")[2] for path in product.object_names(location(run))}
    assert scenario.message or {"manifest.json", "run_results.json", "dbt.log"} <= kept
