"""How the sidecar learns at once that the dbt container has ended: a lock on a shared file that dies with the process.

The kubelet tells it by SIGTERM too, but a second or more later, when it next looks at the pod's containers. A kernel
releases a lock however its holder ends, also by SIGKILL. And only the supervisor holds it, which is process 1 of its
container: no child inherits the descriptor, so when the lock is free, nothing of the container runs any more.
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
        self._was_held = False

    @property
    def over(self) -> bool:
        """Whether the lock was held when it was looked at before, and is free now."""
        self._was_held = self._was_held or self._held()
        return self._was_held and not self._held()

    def _held(self) -> bool:
        with suppress(FileNotFoundError):
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            finally:
                os.close(descriptor)
        return False
