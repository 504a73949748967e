"""How the sidecar learns at once that the dbt container has ended: a lock on a shared file that
dies with the process.

The kubelet tells it by SIGTERM too, but a second or more later, when it next looks at the pod's
containers. A kernel releases a lock however its holder ends, also by SIGKILL. And only the
supervisor holds it, which is process 1 of its container: no child inherits the descriptor, so when
the lock is free, nothing of the container runs any more.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock for as long as this is entered, or the process lives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o664)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class Watch:
    """Looks at the lock from the other side."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None  # stays open: another file of that name says nothing
        self._was_held = False

    @property
    def over(self) -> bool:
        """Whether the lock was held when it was looked at before, and is free now."""
        self._was_held = self._was_held or self._held()
        return self._was_held and not self._held()

    def _held(self) -> bool:
        if self._descriptor is None:
            with suppress(OSError):  # it is not there yet, or no file
                flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
                self._descriptor = os.open(self._path, flags)
        if self._descriptor is None:
            return False
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return False
