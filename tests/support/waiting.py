"""Waiting for what another thread brings about."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from tests.support.kube import PATIENCE


def eventually(check: Callable[[], Any], seconds: float = PATIENCE) -> None:
    tick, deadline = threading.Event(), time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it has not come to pass"
        tick.wait(0.02)
