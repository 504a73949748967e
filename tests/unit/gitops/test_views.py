"""What Argo CD and Flux say of an object of each kind in each state."""

from __future__ import annotations

import pytest

from dbt_operator.api.registry import KINDS
from tests.support import recorded, states
from tests.support.recorded import EXPECTED, NEW

STATES = [(kind, state) for kind, expected in EXPECTED.items() for state in expected]


@pytest.mark.parametrize(("kind", "state"), STATES)
def test_each_kind_in_each_state_is_seen_as_it_should_be(kind: str, state: str) -> None:
    recorded.look(states.make(kind, state), state)


@pytest.mark.parametrize(("kind", "state"), STATES)
def test_what_is_recorded_is_seen_as_it_should_be(kind: str, state: str) -> None:
    assert recorded.views(recorded.read(kind, state)) == EXPECTED[kind][state]


@pytest.mark.parametrize(("kind", "state"), STATES)
def test_what_was_edited_since_is_in_progress(kind: str, state: str) -> None:
    manifest = states.make(kind, state)
    manifest["metadata"]["generation"] += 1
    assert recorded.views(manifest) == NEW


def test_nothing_else_is_recorded() -> None:
    paths = {recorded.path_of(kind, state) for kind, state in STATES}
    assert set(recorded.FOLDER.iterdir()) == paths


def test_flux_and_argo_cd_know_all_kinds() -> None:
    kinds = {kind.kind for kind in KINDS}
    assert set(EXPECTED) == kinds
    assert set(recorded.health_checks()) == kinds
