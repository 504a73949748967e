"""A node that does not answer: its pod may still be writing, so it keeps its slot until somebody
knows better.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future

import pytest

from tests.support.lost_nodes import CASES, FORCE_RELEASE, Found


@pytest.mark.parametrize("case", CASES)
def test_pod_on_a_lost_node_holds_its_slot(
    lost_nodes: Mapping[str, Future[Found]], case: str
) -> None:
    """Who waits says so, and what can be done about it."""
    found = lost_nodes[case].result()
    assert found.waiting["phase"] == "Queued"
    assert found.waiting["reason"] == "SlotHeldByLostNode"
    assert FORCE_RELEASE in found.waiting["message"]
    assert found.held["name"] == "first"
    assert found.held["lostPod"] in found.waiting["message"]
    assert found.jobs == 0
    assert found.at_work == 1


@pytest.mark.parametrize("case", CASES)
def test_slot_of_a_lost_node_is_freed(lost_nodes: Mapping[str, Future[Found]], case: str) -> None:
    """By the annotation, which is recorded, or by the removal of the node. The run whose pod it was
    is told apart.
    """
    found = lost_nodes[case].result()
    assert (found.first["phase"], found.first["reason"]) == ("Failed", "Infrastructure")
    released = [release["uid"] for release in found.target.get("released") or ()]
    assert released == ([found.held["uid"]] if case == "released-by-force" else [])
