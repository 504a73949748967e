from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import pods
from tests.support.pods import end_all, end_nursery


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Only what is marked may start dbt, or nobody would see what an other version makes of it."""
    marks = {mark.name for mark in item.iter_markers()}
    pods.may_start_dbt = bool(marks & {"dbt", "dbt_in_full", "one_dbt"})


@pytest.fixture(autouse=True)
def _nothing_outlives_its_test() -> Iterator[None]:
    yield
    end_all()


@pytest.fixture(autouse=True, scope="session")
def _nothing_outlives_the_session() -> Iterator[None]:
    yield
    end_nursery()
