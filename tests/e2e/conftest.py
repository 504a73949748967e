"""The product, installed once: everything below runs dbt in real pods on a real node."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from tests.support import product, receivers
from tests.support.kube import apply, namespace, require_cluster
from tests.support.scenarios import NAMESPACE, create_user, secrets, start_all

# What only `make test-full` has the images for, and the time.
collect_ignore = [] if os.environ.get("DBT_OPERATOR_TEST_FULL") else ["test_spark.py"]


@pytest.fixture(scope="session")
def images() -> Mapping[str, str]:
    require_cluster()
    return product.references()


@pytest.fixture(scope="session")
def installed(images: Mapping[str, str]) -> None:
    product.install_services(images)
    receivers.install(images)
    product.install_chart(images, more=receivers.make_values())


@pytest.fixture(scope="session")
def warehouse(installed: None) -> None:  # noqa: ARG001 -- it has to be there first
    """What the scenarios' runs have in common."""
    apply(namespace(NAMESPACE))
    create_user()
    apply(*secrets())


@pytest.fixture(scope="session")
def scenarios(warehouse: None, images: Mapping[str, str]) -> None:  # noqa: ARG001 -- it has to be there first
    """Every scenario's run, started together: the node has work to do while the tests wait for one
    of them.
    """
    start_all(images)
