from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.support import product
from tests.support.kube import apply, require_cluster
from tests.support.lost_nodes import CASES, Found
from tests.support.nursery import nursery
from tests.support.schedule_kills import ASKED, BY_CLOCK, Rounds, start_rounds
from tests.support.stage import Stage, install_crds, stage


@pytest.fixture(scope="session", autouse=True)
def cluster() -> Iterator[None]:
    """The CRDs, and no operator but those of the tests."""
    require_cluster()
    install_crds()
    with product.without_operator():
        yield


@pytest.fixture
def empty() -> Iterator[Stage]:
    """A namespace of a test's own."""
    with stage(f"faults-{uuid.uuid4().hex[:8]}") as found:
        yield found


@pytest.fixture(scope="module")
def scene(cluster: None) -> Iterator[Stage]:  # noqa: ARG001 -- it has to be there first
    """A namespace with a project, and an operator behind the proxy, for tests that leave both
    well.
    """
    with stage(f"faults-{uuid.uuid4().hex[:8]}") as found:
        apply(found.project())
        found.start_operator()
        yield found


@pytest.fixture(scope="session", autouse=True)
def lost_nodes(
    cluster: None,  # noqa: ARG001 -- it has to be there first
    request: pytest.FixtureRequest,
) -> Iterator[Mapping[str, Future[Found]]]:
    """They spend minutes waiting, and begin before all other tests if one of those that run wants
    to know of them.
    """
    wanted = any("lost_node" in item.nodeid for item in request.session.items)
    with ThreadPoolExecutor(len(CASES)) as pool:
        yield {name: pool.submit(case) for name, case in CASES.items()} if wanted else {}


@pytest.fixture(scope="session", autouse=True)
def schedule_kills(
    cluster: None,  # noqa: ARG001 -- it has to be there first
    request: pytest.FixtureRequest,
) -> Iterator[Rounds]:
    """They wait for the clock, and begin before all other tests if one of those that run wants to
    know of them.
    """
    if not any("schedule_kills" in item.nodeid for item in request.session.items):
        yield {}
        return
    with nursery() as parent, ThreadPoolExecutor(len(BY_CLOCK) + len(ASKED)) as pool:
        yield start_rounds(parent, pool)
