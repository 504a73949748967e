"""Waiting for what another thread brings about."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tests.support.kube import PATIENCE


def eventually(check: Callable[[], object], seconds: float = PATIENCE) -> None:
    tick, deadline = threading.Event(), time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it has not come to pass"
        tick.wait(0.02)
