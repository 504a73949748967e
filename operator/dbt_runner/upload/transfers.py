"""Uploads files in the order of their worth, and tries again what has failed.

A few threads do it. One of them takes nothing but what matters most, so that the result of a run
does not wait behind four huge logs. Whoever is free takes the most worthy of what is due, at a cost
that hardly grows with the number of files.
"""

from __future__ import annotations

import heapq
import mimetypes
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO, Protocol

from dbt_runner.bucket import PARALLEL, BucketError, UploadError
from dbt_runner.volume import NotPlainError, Volume, version_of

_WORTH_A_COPY = 1 << 20  # bytes: a copy takes one more request than to send them
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 8.0  # seconds between two tries
_TYPES = {
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".html": "text/html; charset=utf-8",
    ".gz": "application/gzip",
}
_TEXT = "text/plain; charset=utf-8"


class Store(Protocol):
    """What the uploader needs of an object store."""

    def put(self, key: str, file: BinaryIO, size: int, content_type: str) -> None:
        """Upload so many bytes of an opened file and make sure that they have arrived.

        Raises:
            UploadError: it has not.
        """

    def copy(self, source: str, key: str, size: int) -> None:
        """Make an object like another one, of so many bytes, without sending them.

        Raises:
            UploadError: it has not been made.
        """

    def get(self, key: str, volume: Volume, path: Path) -> bool:
        """Download an object to a file; whether there is one.

        Raises:
            BucketError: the store refuses or cannot be reached.
        """


class Worth(IntEnum):
    """What is uploaded first has the smallest number."""

    RUN = 0  # results and state: the next attempt and later runs need them
    RESULTS = 1  # what dbt says of a step
    DETAILS = 2  # what people read: logs, pages, SQL
    CACHE = 3  # nobody misses it


@dataclass
class Transfer:
    """A file on its way to an object."""

    key: str
    path: Path
    worth: Worth
    changes: bool = False  # the file may be replaced by another, which then is uploaded, too
    size: int = 0  # bytes, as they have been uploaded
    has_arrived: bool = False
    is_over: bool = False  # nothing more is to be done for it
    last: UploadError | None = None  # what the last try has met; stays while the next is under way
    version: tuple[int, ...] = ()  # of the file, as it was when the upload began
    delay: float = _FIRST_DELAY

    @property
    def is_optional(self) -> bool:
        """Whether it is no failure if it does not arrive."""
        return self.worth is Worth.CACHE

    @property
    def is_stored(self) -> bool:
        """Whether the store has it, as it is."""
        return self.is_over and self.has_arrived


@dataclass
class Transfers:
    """All files that are to be uploaded, and the threads that do it."""

    volume: Volume
    connect: Callable[[], Store]
    all: dict[str, Transfer] = field(default_factory=dict)  # by key
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _due: list[tuple[Worth, int, Transfer]] = field(default_factory=list)  # a heap
    _delayed: list[tuple[float, int, Transfer]] = field(default_factory=list)  # a heap, by time
    # By version of the file, the object that holds it: a state's manifest is that of a step, too.
    _held: dict[tuple[int, ...], str] = field(default_factory=dict)
    _number: int = 0  # keeps those of equal worth in their order
    _left: int = 0  # that are not over
    _ending: bool = False  # what will not get better is given up
    _closed: bool = False

    def add(self, transfer: Transfer) -> None:
        """Have a file uploaded, unless one is known for that object."""
        with self._changed:
            if transfer.key in self.all:
                return
            if not self.all:
                self._start_threads()
            self.all[transfer.key] = transfer
            self._left += 1
            self._push(transfer)

    def refresh(self) -> None:
        """Upload again what has changed since it has arrived."""
        with self._changed:
            for transfer in self.all.values():
                if transfer.changes and transfer.is_over and self._is_stale(transfer):
                    transfer.is_over = False
                    self._left += 1
                    self._push(transfer)

    def finish(self, deadline: float) -> None:
        """Wait until everything has arrived or been given up.

        An error that will not go away gets one more try now: it may be minutes old.

        Args:
            deadline: on the monotonic clock, in seconds; what is left then is left.
        """
        self.refresh()
        with self._changed:
            self._ending = True
            while self._delayed:
                self._push(heapq.heappop(self._delayed)[2])
            seconds = max(0.0, deadline - time.monotonic())
            self._changed.wait_for(lambda: self._left == 0, seconds)
            self._closed = True
            self._changed.notify_all()

    def _start_threads(self) -> None:
        for number in range(PARALLEL + 1):
            least = Worth.RUN if number == 0 else Worth.CACHE
            threading.Thread(target=self._work, args=(least,), daemon=True).start()

    def _work(self, least: Worth) -> None:
        """Upload one file after another, none of less worth than this."""
        while (transfer := self._take(least)) is not None:
            error: UploadError | None = None
            try:
                self._put(transfer)
            except UploadError as found:
                error = found
            except BucketError as found:  # the store cannot be opened
                error = UploadError(str(found), final=found.final)
            except Exception as found:  # noqa: BLE001 - it must not end the thread
                error = UploadError(f"{transfer.path.name!a}: {found!r}")
            self._settle(transfer, error)

    def _take(self, least: Worth) -> Transfer | None:
        """The most worthy of what is due, as soon as there is anything; None at the end."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                while self._delayed and self._delayed[0][0] <= now:
                    self._push(heapq.heappop(self._delayed)[2])
                if self._due and self._due[0][0] <= least:
                    transfer = heapq.heappop(self._due)[2]
                    if transfer.changes:
                        transfer.version = self.volume.version(transfer.path)
                    return transfer
                self._changed.wait(self._delayed[0][0] - now if self._delayed else None)
        return None

    def _put(self, transfer: Transfer) -> None:
        try:
            file = self.volume.open(transfer.path)
        except NotPlainError as error:
            raise UploadError(str(error), final=True) from None
        with file:
            found = os.fstat(file.fileno())
            size, version = found.st_size, version_of(found)
            if not self._copy(transfer, size, version):
                self.connect().put(transfer.key, file, size, find_content_type(transfer.path))
            if size >= _WORTH_A_COPY and version_of(os.fstat(file.fileno())) == version:
                self._held[version] = transfer.key
        transfer.size = size

    def _copy(self, transfer: Transfer, size: int, version: tuple[int, ...]) -> bool:
        """Whether the store could make the object of one that holds the same file."""
        source = self._held.get(version, transfer.key)
        if source == transfer.key:
            return False
        try:
            self.connect().copy(source, transfer.key, size)
        except UploadError:
            return False  # it is sent like any other; a store may know no copies
        return True

    def _settle(self, transfer: Transfer, error: UploadError | None) -> None:
        """Decide what becomes of a file after a try."""
        with self._changed:
            transfer.has_arrived = error is None
            transfer.last = error
            if error is None and self._is_stale(transfer):
                self._push(transfer)
            elif error is None or (self._ending and (error.final or transfer.is_optional)):
                transfer.is_over = True
                self._left -= 1
            else:
                self._number += 1
                at = time.monotonic() + transfer.delay
                heapq.heappush(self._delayed, (at, self._number, transfer))
                transfer.delay = min(transfer.delay * 2, _LONGEST_DELAY)
            self._changed.notify_all()

    def _push(self, transfer: Transfer) -> None:
        self._number += 1
        heapq.heappush(self._due, (transfer.worth, self._number, transfer))
        self._changed.notify_all()

    def _is_stale(self, transfer: Transfer) -> bool:
        """Whether the file is another one now than the one that was uploaded."""
        return transfer.changes and self.volume.version(transfer.path) != transfer.version


def find_content_type(path: Path) -> str:
    """What a browser or a log viewer should take the file for."""
    if path.suffix in _TYPES:
        return _TYPES[path.suffix]
    guessed, _ = mimetypes.guess_type(path.name)
    return guessed if guessed and not guessed.startswith(("text/", "application/")) else _TEXT
