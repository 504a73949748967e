"""The native sidecar: uploads the folders of finished steps and prints how far dbt is.

Only it sees the object store's Secret. A folder that appears in ARTIFACTS is complete, so it is uploaded at once, while
the next step runs. When the dbt container has ended, even by an OOM kill, the rest is uploaded, each object is
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
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dbt_runner import cache
from dbt_runner.bucket import PARALLEL, BucketError, MinioStore, UploadError
from dbt_runner.layout import Layout
from dbt_runner.presence import Watch
from dbt_runner.progress import Teller
from dbt_runner.protocol import UploadPlan, UploadSummary
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
            files = artifacts_of(entry) if entry.is_dir() else [entry]
            for path in files:
                self._add(path, self.plan.prefix, path.relative_to(self.layout.artifacts))
        if self.plan.cache and cache.stored(self.layout).is_file() and self.plan.cache not in self._jobs:
            self._jobs[self.plan.cache] = _Job(self.plan.cache, cache.stored(self.layout), optional=True)

    def _discover_partial(self) -> None:
        """Take in the logs of a step whose container died."""
        for name in LOGS:
            for path in sorted(self.layout.work.glob(f"*/{name}")):
                if not path.parent.name.startswith("."):
                    self._add(path, self.plan.prefix, path.relative_to(self.layout.work))

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

    def _add(self, path: Path, prefix: str, relative: Path) -> None:
        key = f"{prefix}/{relative.as_posix()}"
        self._jobs[key] = _Job(key, path, path.stat().st_size)

    def _submit(self) -> None:
        """Collect what has been done, and start what is due."""
        now = time.monotonic()
        for job in self._jobs.values():
            if job.future is not None and job.future.done() and job.error is None:
                self._collect(job)
            if job.future is None and now >= job.not_before:
                job.error = None
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
        return _arrived(job) or (job.error is not None and (job.error.final or job.optional))

    def _summary(self) -> UploadSummary:
        wanted = [job for job in self._jobs.values() if not job.optional]
        arrived = [job for job in wanted if _arrived(job)]
        missing = [job for job in wanted if not _arrived(job)]
        error = ""
        if missing:
            first = next((job.last for job in missing if job.last), None)
            why = str(first) if first else "the grace period was over"
            error = f"{len(missing)} of {len(wanted)} objects were not uploaded: {why}"
        return UploadSummary("", len(arrived), sum(job.size for job in arrived), error)


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
    summary = UploadSummary(f"s3://{plan.bucket.name}/{plan.prefix}", summary.objects, summary.size, summary.error)
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
