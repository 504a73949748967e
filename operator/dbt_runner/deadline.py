"""A moment by which something has to be over."""

from __future__ import annotations

import time


class Deadline:
    """A moment on the monotonic clock, or none."""

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds

    @property
    def passed(self) -> bool:
        """Whether the moment is over."""
        return self._at is not None and time.monotonic() >= self._at

    def remaining(self) -> float | None:
        """Seconds until then, at least 0; None if there is no deadline."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())
