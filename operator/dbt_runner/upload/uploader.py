"""The native sidecar: uploads the folders of finished steps and prints how far dbt is.

Only it sees the object store's Secret. A folder that appears in ARTIFACTS is complete, so it is
uploaded at once, while the next step runs; with windows, that is the folder of a window, and the
run's result.json is uploaded again whenever it has changed. When the dbt container has ended, even
by an OOM kill, the rest is uploaded, each object is verified, and the container ends with an
:class:`~dbt_protocol.summaries.UploadSummary`. It hears of that end by :mod:`dbt_runner.presence`
or by the kubelet's SIGTERM, whichever comes first. Until then it waits: a sidecar that ended by
itself would be started again.

After dbt's end, too, it is started again as long as somebody else's container lives in the pod. It
then reports at once what it has reported before, so that it does not matter which of its ends is
seen.

Of a step that never got to its final name only the logs are uploaded: dbt itself has kept secrets
out of those, while nobody has looked for any in its other files (see
:mod:`dbt_runner.artifact_files`).
"""

from __future__ import annotations

import mimetypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Protocol

from dbt_protocol.paths import ENDED
from dbt_protocol.plans import UploadPlan
from dbt_protocol.summaries import PROGRESS_WINDOWS, UploadSummary
from dbt_runner import cache_files
from dbt_runner.artifact_files import LOGS, artifacts_of
from dbt_runner.bucket import PARALLEL, BucketError, MinioStore, UploadError
from dbt_runner.layout import Layout
from dbt_runner.outcome.merge import RESULT
from dbt_runner.presence import Watch
from dbt_runner.upload.teller import Teller
from dbt_runner.volume import NotPlainError, Volume

POLL_SECONDS = 0.2
GRACE_SECONDS = (
    50.0  # of the pod's 120; dbt has had 60 of them, and a last try may still be under way
)
_REPORT_BYTES = 16384  # a termination message is shorter
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 8.0
_TYPES = {
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".html": "text/html; charset=utf-8",
}
_TEXT = "text/plain; charset=utf-8"


class Store(Protocol):
    """What the uploader needs of an object store."""

    def put(self, key: str, file: BinaryIO, size: int, content_type: str) -> None:
        """Upload so many bytes of an opened file and make sure that they have arrived.

        Raises:
            UploadError: it has not.
        """

    def get(self, key: str, volume: Volume, path: Path) -> bool:
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


@dataclass
class Uploader:
    """Finds what is to be uploaded and sees it through."""

    layout: Layout
    plan: UploadPlan
    store: Callable[[], Store]  # called when the first object is there, not before
    poll_seconds: float = POLL_SECONDS
    grace_seconds: float = GRACE_SECONDS
    _volume: Volume = field(init=False)
    _jobs: dict[str, _Job] = field(default_factory=dict)
    _found: set[str] = field(default_factory=set)
    _opened: Store | None = None
    _opening: threading.Lock = field(default_factory=threading.Lock)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(PARALLEL))

    def __post_init__(self) -> None:
        self._volume = Volume(self.layout.shared)

    def run(self, stop: threading.Event) -> UploadSummary:
        """Upload until dbt has ended or ``stop`` is set; then what is left, for as long as the
        grace period lasts.
        """
        watch, teller = Watch(self.layout.alive), Teller(self.layout.progress)
        if watch.over and (reported := self._read_report()):
            return reported
        if self.plan.cache:
            self._pool.submit(self._restore_cache)
        while not stop.is_set() and not watch.over:
            self._discover()
            if self._volume.version(self.layout.windows):
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
        summary = self._summary()
        if watch.over:
            self._keep_report(summary)
        return summary

    def _read_report(self) -> UploadSummary | None:
        """What an earlier instance has reported after dbt's end; None if it could not."""
        try:
            text = self._volume.read(self.layout.uploaded, _REPORT_BYTES).decode()
            return UploadSummary.from_json(text)
        except (OSError, ValueError):  # ProtocolError and UnicodeDecodeError are ValueErrors
            return None

    def _keep_report(self, summary: UploadSummary) -> None:
        try:
            with self._volume.replacing(self.layout.uploaded) as file:
                file.write(summary.to_json().encode())
        except OSError as error:
            print(f"dbt-operator: the report cannot be kept: {error}", flush=True)

    def _discover(self) -> None:
        """Take in new folders and result.json: both get their names when they are complete."""
        for entry, is_folder in self._volume.entries(self.layout.artifacts):
            if entry.name in self._found or entry.name.startswith("."):
                continue
            self._found.add(entry.name)
            for path in self._files(entry) if is_folder else [entry]:
                self._add(path, self.plan.prefix, path.relative_to(self.layout.artifacts))
        stored = cache_files.stored(self.layout)
        if self.plan.cache and self.plan.cache not in self._jobs and self._volume.version(stored):
            self._jobs[self.plan.cache] = _Job(self.plan.cache, stored, optional=True)

    def _discover_partial(self) -> None:
        """Take in the logs of a step whose container died, and the steps that had ended in its
        window.
        """
        work = self.layout.work
        outer = self._visible_folders(work)
        for folder in [*outer, *(inner for each in outer for inner in self._visible_folders(each))]:
            for name in LOGS:
                if self._volume.version(folder / name):
                    self._add(folder / name, self.plan.prefix, (folder / name).relative_to(work))
        for window in outer:
            ended = window / ENDED
            for path in self._files(ended):
                relative = window.relative_to(work) / path.relative_to(ended)
                self._add(path, self.plan.prefix, relative)

    def _visible_folders(self, path: Path) -> list[Path]:
        entries = self._volume.entries(path)
        return [each for each, is_folder in entries if is_folder and not each.name.startswith(".")]

    def _discover_result(self) -> None:
        """Take in the run's result while there is more to come."""
        path = self.layout.run / RESULT
        is_new = self.plan.run and f"{self.plan.run}/{RESULT}" not in self._jobs
        if is_new and self._volume.version(path):
            self._add(path, self.plan.run, Path(RESULT), changes=True)

    def _discover_run(self) -> None:
        """Take in what belongs to the run as a whole; the supervisor writes it last."""
        for folder, prefix in (
            (self.layout.run, self.plan.run),
            (self.layout.new_state, self.plan.state),
        ):
            for path, is_folder in self._volume.entries(folder) if prefix else ():
                if not is_folder and not path.name.startswith("."):
                    self._add(path, prefix, Path(path.name))

    def _files(self, folder: Path) -> Iterator[Path]:
        """The artifacts of a step, or of a window with a result of its own and all its steps."""
        entries = self._volume.entries(folder)
        result = (folder / RESULT, False) in entries
        if folder.name != ENDED and not result:
            yield from artifacts_of(self._volume, folder)
            return
        if result:
            yield folder / RESULT
        for path, is_folder in entries:
            if is_folder:
                yield from artifacts_of(self._volume, path)

    def _restore_cache(self) -> None:
        """Fetch the parse cache while dbt is being imported, and say when there is nothing more to
        wait for.
        """
        try:
            self._connected().get(self.plan.cache, self._volume, cache_files.restored(self.layout))
        except BucketError as error:
            print(f"dbt-operator: there is no parse cache: {error}", flush=True)
        finally:
            cache_files.announce(self.layout)

    def _add(self, path: Path, prefix: str, relative: Path, *, changes: bool = False) -> None:
        key = f"{prefix}/{relative.as_posix()}"
        if key not in self._jobs:
            self._jobs[key] = _Job(key, path, changes=changes)

    def _submit(self) -> None:
        """Collect what has been done, and start what is due."""
        now = time.monotonic()
        for job in self._jobs.values():
            if job.future is not None and job.future.done() and job.error is None:
                self._collect(job)
            if _arrived(job) and self._is_stale(job):
                job.future = None
            if job.future is None and now >= job.not_before:
                job.error = None
                if job.changes:
                    job.version = self._volume.version(job.path)
                job.future = self._pool.submit(self._put, job)

    def _collect(self, job: _Job) -> None:
        error = job.future.exception() if job.future else None
        if error is not None:
            job.error = job.last = (
                error if isinstance(error, UploadError) else UploadError(f"{job.key}: {error!r}")
            )
            job.future = None
            job.not_before = time.monotonic() + job.delay
            job.delay = min(job.delay * 2, _LONGEST_DELAY)

    def _is_stale(self, job: _Job) -> bool:
        """Whether the file is another one now than the one that is uploaded, or about to be."""
        return job.changes and self._volume.version(job.path) != job.version

    def _put(self, job: _Job) -> None:
        try:
            file = self._volume.open(job.path)
        except NotPlainError as error:
            raise UploadError(str(error), final=True) from None
        with file:
            job.size = os.fstat(file.fileno()).st_size
            self._connected().put(job.key, file, job.size, content_type(job.path))

    def _connected(self) -> Store:
        with self._opening:
            if self._opened is None:
                self._opened = self.store()
            return self._opened

    def _finish(self, deadline: float) -> None:
        """Upload what is left. An error that will not go away gets one more try now: it may be
        minutes old.
        """
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
        if job.error is not None and (job.error.final or job.optional):
            return True
        return _arrived(job) and not self._is_stale(job)

    def _summary(self) -> UploadSummary:
        wanted = [job for job in self._jobs.values() if not job.optional]
        arrived = [job for job in wanted if _arrived(job)]
        missing = [job for job in wanted if not _arrived(job)]
        error = ""
        if missing:
            first = next((job.last for job in missing if job.last), None)
            why = str(first) if first else "the grace period was over"
            error = f"{len(missing)} of {len(wanted)} objects were not uploaded: {why}"
        return UploadSummary(
            "", len(arrived), sum(job.size for job in arrived), error, self._windows()
        )

    def _windows(self) -> str:
        """How the windows stand, as the supervisor has left it."""
        try:
            return self._volume.read(self.layout.windows, PROGRESS_WINDOWS).decode()
        except (OSError, ValueError):
            return ""


def _arrived(job: _Job) -> bool:
    return (
        job.future is not None
        and job.future.done()
        and not job.future.cancelled()
        and not job.future.exception()
    )


def content_type(path: Path) -> str:
    """What a browser or a log viewer should take the file for."""
    if path.suffix in _TYPES:
        return _TYPES[path.suffix]
    guessed, _ = mimetypes.guess_type(path.name)
    return guessed if guessed and not guessed.startswith(("text/", "application/")) else _TEXT


def main(layout: Layout, plan: UploadPlan, env: Mapping[str, str]) -> int:
    """Upload until SIGTERM and what is left then; returns the container's exit code, 0 if
    everything has arrived.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    where = f"s3://{plan.bucket.name}/{plan.prefix}"
    print(f"dbt-operator: waiting for artifacts, to upload them to {where}", flush=True)
    grace = float(env.get("DBT_OPERATOR_UPLOAD_GRACE", GRACE_SECONDS))
    summary = Uploader(layout, plan, lambda: MinioStore(plan.bucket, env), grace_seconds=grace).run(
        stop
    )
    summary = replace(summary, location=f"s3://{plan.bucket.name}/{plan.prefix}")
    layout.report(summary.to_json())
    print(f"dbt-operator: {_told(summary)}")
    sys.stdout.flush()
    code = 1 if summary.error else 0
    if summary.error:
        os._exit(code)  # an upload may still hang in a thread, and the message is out
    return code


def _told(summary: UploadSummary) -> str:
    said = f"uploaded {summary.objects} objects, {summary.size} bytes, to {summary.location}"
    return f"{said}; {summary.error}" if summary.error else said
