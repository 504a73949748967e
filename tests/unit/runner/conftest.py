from __future__ import annotations

from collections.abc import Iterator

import pytest

from .pods import end_all


@pytest.fixture(autouse=True)
def _nothing_outlives_its_test() -> Iterator[None]:
    yield
    end_all()
