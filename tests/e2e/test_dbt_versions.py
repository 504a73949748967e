"""A few ways for a run to end, with each minor version of dbt. What runs otherwise is that of
images/dbt.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.support import product
from tests.support.scenarios import NAMESPACE, OTHER_DBT, Scenario, location, start_other_dbt


@pytest.fixture(scope="module", autouse=True)
def _started(warehouse: None, images: Mapping[str, str]) -> None:  # noqa: ARG001 -- it has to be there first
    """Apart from the other scenarios, some of which have to end within a certain time on the same
    two cores.
    """
    start_other_dbt(images)


@pytest.mark.parametrize("scenario", OTHER_DBT, ids=lambda scenario: scenario.name)
def test_it_ends_alike_with_every_version(scenario: Scenario) -> None:
    run = product.wait_until_finished(scenario.name, NAMESPACE)
    status = run["status"]
    assert (status["phase"], status.get("reason")) == (scenario.phase, scenario.reason), status[
        "message"
    ]
    assert status["dbtVersion"].startswith(f"{scenario.dbt}.")
    failures = [failure["uniqueId"] for failure in status.get("failures", ())]
    assert not scenario.failed or any(failure.startswith(scenario.failed) for failure in failures)
    kept = {path.rpartition("/")[2] for path in product.object_names(location(run))}
    assert {"manifest.json", "run_results.json", "dbt.log"} <= kept
