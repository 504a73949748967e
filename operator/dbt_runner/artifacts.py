"""The native sidecar: uploads the folders of finished steps and prints how far dbt is.

Only it sees the object store's Secret. A folder that appears in ARTIFACTS is complete, so it is uploaded at once, while
the next step runs; with windows, that is the folder of a window, and the run's result.json is uploaded again whenever
it has changed. When the dbt container has ended, even by an OOM kill, the rest is uploaded, each object is
verified, and the container ends with an :class:`~dbt_runner.protocol.UploadSummary`. It hears of that end by
:mod:`dbt_runner.presence` or by the kubelet's SIGTERM, whichever comes first. Until then it waits: a sidecar that ended
by itself would be started again.

Of a step that never got to its final name only the logs are uploaded: dbt itself has kept secrets out of those, while
nobody has looked for any in its other files (see :mod:`dbt_runner.publish`).
"""

from __future__ import annotations

import mimetypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from dbt_runner import cache
from dbt_runner.bucket import PARALLEL, BucketError, MinioStore, UploadError
from dbt_runner.layout import Layout
from dbt_runner.merge import RESULT
from dbt_runner.presence import Watch
from dbt_runner.progress import Teller
from dbt_runner.protocol import ENDED, PROGRESS_WINDOWS, UploadPlan, UploadSummary
from dbt_runner.publish import LOGS, artifacts_of

POLL_SECONDS = 0.2
GRACE_SECONDS = 50.0  # of the pod's 120; dbt has had 60 of them, and a last try may still be under way
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 8.0
_TYPES = {".json": "application/json", ".jsonl": "application/x-ndjson", ".html": "text/html; charset=utf-8"}
_TEXT = "text/plain; charset=utf-8"


class Store(Protocol):
    """What the uploader needs of an object store."""

    def put(self, key: str, path: Path, content_type: str) -> None:
        """Upload a file and make sure that it has arrived whole.

        Raises:
            UploadError: it has not.
        """

    def get(self, key: str, path: Path) -> bool:
        """Download an object to a file; whether there is one.

        Raises:
            BucketError: the store refuses or cannot be reached.
        """


@dataclass
class _Job:
    key: str
    path: Path
    size: int = 0
    not_before: float = 0.0
    delay: float = _FIRST_DELAY
    error: UploadError | None = None
    last: UploadError | None = None  # stays while the next try is under way
    future: Future[None] | None = None
    optional: bool = False  # a parse cache: nobody misses it
    changes: bool = False  # the file may be replaced by another, which then is uploaded, too
    version: tuple[int, ...] = ()  # of the file, as it was when the upload began

    @property
    def is_stale(self) -> bool:
        """Whether the file is another one now than the one that is uploaded, or about to be."""
        return self.changes and _version(self.path) != self.version


@dataclass
class Uploader:
    """Finds what is to be uploaded and sees it through."""

    layout: Layout
    plan: UploadPlan
    store: Callable[[], Store]  # called when the first object is there, not before
    poll_seconds: float = POLL_SECONDS
    grace_seconds: float = GRACE_SECONDS
    _jobs: dict[str, _Job] = field(default_factory=dict)
    _found: set[str] = field(default_factory=set)
    _opened: Store | None = None
    _opening: threading.Lock = field(default_factory=threading.Lock)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(PARALLEL))

    def run(self, stop: threading.Event) -> UploadSummary:
        """Upload until dbt has ended or ``stop`` is set; then what is left, for as long as the grace period lasts."""
        watch, teller = Watch(self.layout.alive), Teller(self.layout.progress)
        if self.plan.cache:
            self._pool.submit(self._restore_cache)
        while not stop.is_set() and not watch.over:
            self._discover()
            if self.layout.windows.exists():
                self._discover_result()
            self._submit()
            teller.look()
            stop.wait(self.poll_seconds)
        deadline = time.monotonic() + self.grace_seconds
        self._discover()
        self._discover_partial()
        self._discover_run()
        self._finish(deadline)
        self._pool.shutdown(wait=False, cancel_futures=True)
        return self._summary()

    def _discover(self) -> None:
        """Take in new folders and result.json: both get their names when they are complete."""
        if not self.layout.artifacts.is_dir():
            return
        for entry in sorted(self.layout.artifacts.iterdir()):
            if entry.name in self._found or entry.name.startswith("."):
                continue
            self._found.add(entry.name)
            for path in _files(entry):
                self._add(path, self.plan.prefix, path.relative_to(self.layout.artifacts))
        if self.plan.cache and cache.stored(self.layout).is_file() and self.plan.cache not in self._jobs:
            self._jobs[self.plan.cache] = _Job(self.plan.cache, cache.stored(self.layout), optional=True)

    def _discover_partial(self) -> None:
        """Take in the logs of a step whose container died, and the steps that had ended in its window."""
        work = self.layout.work
        for name in LOGS:
            for path in sorted([*work.glob(f"*/{name}"), *work.glob(f"*/*/{name}")]):
                relative = path.relative_to(work)
                if not any(part.startswith(".") for part in relative.parts):
                    self._add(path, self.plan.prefix, relative)
        for folder in sorted(work.glob(f"*/{ENDED}")):
            for path in _files(folder):
                self._add(path, self.plan.prefix, folder.parent.relative_to(work) / path.relative_to(folder))

    def _discover_result(self) -> None:
        """Take in the run's result while there is more to come."""
        path = self.layout.run / RESULT
        if self.plan.run and f"{self.plan.run}/{RESULT}" not in self._jobs and path.is_file():
            self._add(path, self.plan.run, Path(RESULT), changes=True)

    def _discover_run(self) -> None:
        """Take in what belongs to the run as a whole; the supervisor writes it last."""
        for folder, prefix in ((self.layout.run, self.plan.run), (self.layout.new_state, self.plan.state)):
            if prefix and folder.is_dir():
                for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
                    self._add(path, prefix, Path(path.name))

    def _restore_cache(self) -> None:
        """Fetch the parse cache while dbt is being imported, and say when there is nothing more to wait for."""
        try:
            self._connected().get(self.plan.cache, cache.restored(self.layout))
        except BucketError as error:
            print(f"dbt-operator: there is no parse cache: {error}", flush=True)  # noqa: T201 - the container's log
        finally:
            cache.announce(self.layout)

    def _add(self, path: Path, prefix: str, relative: Path, *, changes: bool = False) -> None:
        key = f"{prefix}/{relative.as_posix()}"
        if key not in self._jobs:
            self._jobs[key] = _Job(key, path, path.stat().st_size, changes=changes)

    def _submit(self) -> None:
        """Collect what has been done, and start what is due."""
        now = time.monotonic()
        for job in self._jobs.values():
            if job.future is not None and job.future.done() and job.error is None:
                self._collect(job)
            if _arrived(job) and job.is_stale:
                job.future = None
            if job.future is None and now >= job.not_before:
                job.error = None
                if job.changes:
                    job.version = _version(job.path)
                    job.size = job.version[0]
                job.future = self._pool.submit(self._put, job)

    def _collect(self, job: _Job) -> None:
        error = job.future.exception() if job.future else None
        if error is not None:
            job.error = job.last = error if isinstance(error, UploadError) else UploadError(f"{job.key}: {error!r}")
            job.future = None
            job.not_before = time.monotonic() + job.delay
            job.delay = min(job.delay * 2, _LONGEST_DELAY)

    def _put(self, job: _Job) -> None:
        self._connected().put(job.key, job.path, content_type(job.path))

    def _connected(self) -> Store:
        with self._opening:
            if self._opened is None:
                self._opened = self.store()
            return self._opened

    def _finish(self, deadline: float) -> None:
        """Upload what is left. An error that will not go away gets one more try now: it may be minutes old."""
        for job in self._jobs.values():
            job.not_before, job.error = 0.0, None
        while time.monotonic() < deadline:
            self._submit()
            waiting = [job for job in self._jobs.values() if not self._is_over(job)]
            if not waiting:
                return
            running = [job.future for job in waiting if job.future]
            soonest = min((job.not_before for job in waiting if not job.future), default=deadline)
            seconds = max(0.0, min(soonest, deadline) - time.monotonic())
            if running:
                wait(running, timeout=seconds, return_when="FIRST_COMPLETED")
            else:
                time.sleep(seconds)

    def _is_over(self, job: _Job) -> bool:
        return (_arrived(job) and not job.is_stale) or (job.error is not None and (job.error.final or job.optional))

    def _summary(self) -> UploadSummary:
        wanted = [job for job in self._jobs.values() if not job.optional]
        arrived = [job for job in wanted if _arrived(job)]
        missing = [job for job in wanted if not _arrived(job)]
        error = ""
        if missing:
            first = next((job.last for job in missing if job.last), None)
            why = str(first) if first else "the grace period was over"
            error = f"{len(missing)} of {len(wanted)} objects were not uploaded: {why}"
        return UploadSummary("", len(arrived), sum(job.size for job in arrived), error, self._windows())

    def _windows(self) -> str:
        """How the windows stand, as the supervisor has left it."""
        try:
            return self.layout.windows.read_text(encoding="utf-8")[:PROGRESS_WINDOWS]
        except (OSError, ValueError):
            return ""


def _files(entry: Path) -> Iterable[Path]:
    """The artifacts of a step, or of a window with a result of its own and all its steps; or the file that this is."""
    if not entry.is_dir():
        return [entry]
    inner = sorted(path for path in entry.iterdir() if path.is_dir())
    result = entry / RESULT
    if entry.name != ENDED and not result.is_file():
        return artifacts_of(entry)
    return [*([result] if result.is_file() else []), *(path for folder in inner for path in artifacts_of(folder))]


def _version(path: Path) -> tuple[int, ...]:
    """What tells a file from the one that it is replaced by."""
    found = path.stat()
    return found.st_size, found.st_ino, found.st_mtime_ns


def _arrived(job: _Job) -> bool:
    return job.future is not None and job.future.done() and not job.future.cancelled() and not job.future.exception()


def content_type(path: Path) -> str:
    """What a browser or a log viewer should take the file for."""
    if path.suffix in _TYPES:
        return _TYPES[path.suffix]
    guessed, _ = mimetypes.guess_type(path.name)
    return guessed if guessed and not guessed.startswith(("text/", "application/")) else _TEXT


def main(layout: Layout, plan: UploadPlan, env: Mapping[str, str]) -> int:
    """Upload until SIGTERM and what is left then; returns the container's exit code, 0 if everything has arrived."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    print(f"dbt-operator: waiting for artifacts, to upload them to s3://{plan.bucket.name}/{plan.prefix}", flush=True)  # noqa: T201
    grace = float(env.get("DBT_OPERATOR_UPLOAD_GRACE", GRACE_SECONDS))
    summary = Uploader(layout, plan, lambda: MinioStore(plan.bucket, env), grace_seconds=grace).run(stop)
    summary = replace(summary, location=f"s3://{plan.bucket.name}/{plan.prefix}")
    layout.report(summary.to_json())
    print(f"dbt-operator: {_told(summary)}")  # noqa: T201 - the container's log
    sys.stdout.flush()
    code = 1 if summary.error else 0
    if summary.error:
        os._exit(code)  # an upload may still hang in a thread, and the message is out
    return code


def _told(summary: UploadSummary) -> str:
    said = f"uploaded {summary.objects} objects, {summary.size} bytes, to {summary.location}"
    return f"{said}; {summary.error}" if summary.error else said
