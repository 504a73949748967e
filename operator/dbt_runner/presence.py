"""How the sidecar learns at once that the dbt container has ended: a lock on a shared file that
dies with the process.

The kubelet tells it by SIGTERM too, but a second or more later, when it next looks at the pod's
containers. A kernel releases a lock however its holder ends, also by SIGKILL. And only the
supervisor holds it, which is process 1 of its container: no child inherits the descriptor, so when
the lock is free, nothing of the container runs any more.

Who holds the lock writes into the file: so a sidecar that has never seen it held, as it was started
again after the end, knows that this is the end and not the time before the beginning.
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
        if _is_locked(path):  # where locks keep nobody out, a free one tells nothing
            os.write(descriptor, b"1")
        yield
    finally:
        os.close(descriptor)


def _is_locked(path: Path) -> bool:
    """Whether the lock keeps others out, as it does on all but a few file systems."""
    watch = Watch(path)
    try:
        return watch.held
    finally:
        watch.close()


class Watch:
    """Looks at the lock from the other side."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None  # stays open: another file of that name says nothing
        self._was_held = False

    def close(self) -> None:
        """Look no more."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def over(self) -> bool:
        """Whether the lock has been held, and is free now."""
        self._was_held = self._was_held or self.held or self._is_marked()
        # Looked at after the mark: it was written under the lock.
        return self._was_held and not self.held

    def _is_marked(self) -> bool:
        return self._descriptor is not None and os.fstat(self._descriptor).st_size > 0

    @property
    def held(self) -> bool:
        """Whether somebody holds the lock now."""
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
