from __future__ import annotations

import zoneinfo
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Time zones are those of the tzdata package, as in the operator.
zoneinfo.reset_tzpath(())

# How long an example takes says how busy the machine is, not whether the property holds.
settings.register_profile("ours", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ours")

# Files that start dbt over and over, and so begin, the longest first: processes that each take file
# after file are then busy to the end. A file is not divided, as its tests share runs of dbt.
_RUNNER = Path(__file__).parent / "dbt_runner"
LONGEST_FIRST = (
    _RUNNER / "worker" / "test_windows.py",
    _RUNNER / "worker" / "command" / "test_main.py",
    _RUNNER / "worker" / "test_invocation.py",
    _RUNNER / "outcome" / "test_resume.py",
    _RUNNER / "worker" / "command" / "test_dbt_2.py",
    _RUNNER / "worker" / "test_source_status.py",
    _RUNNER / "worker" / "test_state.py",
    _RUNNER / "worker" / "test_deps.py",
    _RUNNER / "supervise" / "test_progress.py",
    _RUNNER / "worker" / "test_counting.py",
    _RUNNER / "worker" / "test_hooks.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort them; within a file and among the others the order stays.

    Raises:
        pytest.UsageError: a file that is to begin has been moved.
    """
    for path in LONGEST_FIRST:
        if not path.is_file():
            raise pytest.UsageError(f"{__file__}: LONGEST_FIRST names {path}, which is not there")
    order = {path: place for place, path in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))
