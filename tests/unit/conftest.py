from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is, not whether the property holds.
settings.register_profile("ours", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ours")

# Files that take long and so begin first: processes that each take file after file are then busy to
# the end.
LONGEST_FIRST = (
    "test_windows.py",
    "test_command.py",
    "test_resume.py",
    "test_dbt.py",
    "test_deps.py",
    "test_hooks.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort them; within a file and among the others the order stays."""
    order = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))
