"""The queue between watches and workers: keyed, deduplicating, with delays and backoff.

As in client-go: a key that is added while it is being worked on is worked on once more afterwards,
never twice at a time; a key that fails comes back after a delay that doubles.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")

FIRST_RETRY = 0.5  # seconds
LAST_RETRY = 60.0


class WorkQueue(Generic[Key]):
    """Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._ready: deque[Key] = deque()
        self._queued: set[Key] = set()
        self._working: set[Key] = set()
        self._again: set[Key] = set()  # added while being worked on
        self._delayed: list[tuple[float, int, Key]] = []
        self._due: dict[
            Key, float
        ] = {}  # the earliest delayed time of each key; later ones in the heap are void
        self._failures: dict[Key, int] = {}
        self._sequence = 0
        self._closed = False

    def add(self, key: Key) -> None:
        """Have a key worked on as soon as a worker is free."""
        with self._changed:
            self._add(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Have a key worked on in some seconds, or earlier if it is added before."""
        with self._changed:
            due = self._clock() + seconds
            if due >= self._due.get(key, float("inf")):
                return
            self._due[key] = due
            self._sequence += 1
            heapq.heappush(self._delayed, (due, self._sequence, key))
            self._changed.notify()

    def hasten(self) -> None:
        """Have everything worked on that waits: the time that it waits for may have come."""
        with self._changed:
            for key in list(self._due):
                self._add(key)

    def retry(self, key: Key) -> float:
        """Have a key that failed worked on again, after a delay in seconds that doubles with each
        failure.
        """
        with self._changed:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(FIRST_RETRY * 2.0 ** (failures - 1), LAST_RETRY)
        self.add_after(key, delay)
        return delay

    def forget(self, key: Key) -> None:
        """A key has been worked on without a failure."""
        with self._changed:
            self._failures.pop(key, None)

    def get(self) -> Key | None:
        """Wait for a key to work on; None when the queue is closed. Call :meth:`done`
        afterwards.
        """
        with self._changed:
            while not self._closed:
                wait = self._promote()
                if self._ready:
                    key = self._ready.popleft()
                    self._queued.discard(key)
                    self._working.add(key)
                    return key
                self._changed.wait(wait)
            return None

    def done(self, key: Key) -> None:
        """A key has been worked on."""
        with self._changed:
            self._working.discard(key)
            if key in self._again:
                self._again.discard(key)
                self._add(key)

    def close(self) -> None:
        """Let the workers go home."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def count_keys(self) -> dict[str, int]:
        """How many keys stand how; those that failed the last time are among the others."""
        with self._changed:
            return {
                "ready": len(self._ready),
                "working": len(self._working),
                "delayed": len(self._due),
                "failing": len(self._failures),
            }

    def __len__(self) -> int:
        with self._changed:
            return len(self._ready)

    def _add(self, key: Key) -> None:
        self._due.pop(key, None)
        if key in self._working:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.append(key)
            self._changed.notify()

    def _promote(self) -> float | None:
        """Move what is due to the ready ones; the seconds until the next is, or None."""
        now = self._clock()
        while self._delayed:
            due, _, key = self._delayed[0]
            if self._due.get(key) != due:
                heapq.heappop(self._delayed)
            elif due <= now:
                heapq.heappop(self._delayed)
                self._add(key)
            else:
                return due - now
        return None
