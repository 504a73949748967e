"""The native sidecar: uploads the folders of finished steps, and only it sees the object store's Secret.

A folder that appears in ARTIFACTS is complete, so it is uploaded at once, while the next step runs. When the dbt
container has ended, even by an OOM kill, the rest is uploaded, each object is verified, and the container ends with an
:class:`~dbt_runner.protocol.UploadSummary`. It hears of that end by :mod:`dbt_runner.presence` or by the kubelet's
SIGTERM, whichever comes first. Until then it waits: a sidecar that ended by itself would be started again.

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
from urllib.parse import urlsplit

from dbt_runner.layout import Layout
from dbt_runner.presence import Watch
from dbt_runner.protocol import UploadPlan, UploadSummary
from dbt_runner.publish import LOGS, artifacts_of

POLL_SECONDS = 0.2
GRACE_SECONDS = 60.0
_PARALLEL = 4
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 8.0
_CONNECT_SECONDS, _READ_SECONDS = 5.0, 30.0
_TYPES = {".json": "application/json", ".jsonl": "application/x-ndjson", ".html": "text/html; charset=utf-8"}
_TEXT = "text/plain; charset=utf-8"
# With these the store says that trying again is of no use.
_FINAL = {"AccessDenied", "NoSuchBucket", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidBucketName"}


class UploadError(Exception):
    """An object did not arrive; the message names no credentials."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final  # trying again is of no use


class Store(Protocol):
    """What the uploader needs of an object store."""

    def put(self, key: str, path: Path, content_type: str) -> None:
        """Upload a file and make sure that it has arrived whole.

        Raises:
            UploadError: it has not.
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


@dataclass
class Uploader:
    """Finds what is to be uploaded and sees it through."""

    layout: Layout
    prefix: str
    store: Callable[[], Store]  # called when the first object is there, not before
    poll_seconds: float = POLL_SECONDS
    grace_seconds: float = GRACE_SECONDS
    _jobs: dict[str, _Job] = field(default_factory=dict)
    _found: set[str] = field(default_factory=set)
    _opened: Store | None = None
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_PARALLEL))

    def run(self, stop: threading.Event) -> UploadSummary:
        """Upload until dbt has ended or ``stop`` is set; then what is left, for as long as the grace period lasts."""
        watch = Watch(self.layout.alive)
        while not stop.is_set() and not watch.over:
            self._discover()
            self._submit()
            stop.wait(self.poll_seconds)
        deadline = time.monotonic() + self.grace_seconds
        self._discover()
        self._discover_partial()
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
                self._add(path, path.relative_to(self.layout.artifacts))

    def _discover_partial(self) -> None:
        """Take in the logs of a step whose container died."""
        for name in LOGS:
            for path in sorted(self.layout.work.glob(f"*/{name}")):
                if not path.parent.name.startswith("."):
                    self._add(path, path.relative_to(self.layout.work))

    def _add(self, path: Path, relative: Path) -> None:
        key = f"{self.prefix}/{relative.as_posix()}"
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
        if self._opened is None:
            self._opened = self.store()
        self._opened.put(job.key, job.path, content_type(job.path))

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
        return _arrived(job) or (job.error is not None and job.error.final)

    def _summary(self) -> UploadSummary:
        arrived = [job for job in self._jobs.values() if _arrived(job)]
        missing = [job for job in self._jobs.values() if not _arrived(job)]
        error = ""
        if missing:
            first = next((job.last for job in missing if job.last), None)
            why = str(first) if first else "the grace period was over"
            error = f"{len(missing)} of {len(self._jobs)} objects were not uploaded: {why}"
        return UploadSummary("", len(arrived), sum(job.size for job in arrived), error)


def _arrived(job: _Job) -> bool:
    return job.future is not None and job.future.done() and not job.future.cancelled() and not job.future.exception()


def content_type(path: Path) -> str:
    """What a browser or a log viewer should take the file for."""
    if path.suffix in _TYPES:
        return _TYPES[path.suffix]
    guessed, _ = mimetypes.guess_type(path.name)
    return guessed if guessed and not guessed.startswith(("text/", "application/")) else _TEXT


class MinioStore:
    """An S3-compatible store, through minio's client. The bucket has to exist: it is an administrator's to make."""

    def __init__(self, plan: UploadPlan, env: Mapping[str, str]) -> None:
        import minio  # heavy: only when there is something to upload, because dbt needs the CPU at the pod's start

        address = urlsplit(plan.endpoint)
        self._plan = plan
        self._errors = minio.error
        self._client = minio.Minio(
            address.netloc,
            secure=address.scheme != "http",
            region=plan.region,
            credentials=_credentials(env, plan.region),
            http_client=_http(env),
        )

    def put(self, key: str, path: Path, content_type: str) -> None:
        """Upload a file. The body travels with a checksum; size and ETag show that the store has kept just that."""
        import urllib3

        try:
            sent = self._client.fput_object(self._plan.bucket, key, str(path), content_type)
            kept = self._client.stat_object(self._plan.bucket, key)
        except self._errors.S3Error as error:
            raise self._error(key, f"{error.code}: {error.message}", final=error.code in _FINAL) from None
        except urllib3.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            raise self._error(key, f"{type(reason).__name__}, the store cannot be reached") from None
        except (self._errors.MinioException, ValueError, OSError) as error:
            raise self._error(key, f"{type(error).__name__}: {error}") from None
        if kept.size != path.stat().st_size or kept.etag != sent.etag:
            raise self._error(key, f"the store holds {kept.size} bytes of {path.stat().st_size}")

    def _error(self, key: str, what: str, *, final: bool = False) -> UploadError:
        where = f"{self._plan.endpoint}, bucket {self._plan.bucket}"
        return UploadError(f"{where}: {key.rsplit('/', 1)[-1]}: {what}", final=final)


def _credentials(env: Mapping[str, str], region: str | None) -> object:
    from minio.credentials import IamAwsProvider, StaticProvider

    key, secret = env.get("AWS_ACCESS_KEY_ID"), env.get("AWS_SECRET_ACCESS_KEY")
    if key and secret:
        return StaticProvider(key, secret, env.get("AWS_SESSION_TOKEN"))
    return IamAwsProvider(region=region, http_client=_http(env))  # the pod's identity


def _http(env: Mapping[str, str]) -> object:
    """A client that gives up soon: retrying is the uploader's business, which knows how much time is left."""
    import certifi
    import urllib3

    return urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS),
        retries=False,
        maxsize=_PARALLEL,
        ca_certs=env.get("SSL_CERT_FILE") or certifi.where(),
    )


def main(layout: Layout, plan: UploadPlan, env: Mapping[str, str]) -> int:
    """Upload until SIGTERM and what is left then; returns the container's exit code, 0 if everything has arrived."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    print(f"dbt-operator: waiting for artifacts, to upload them to s3://{plan.bucket}/{plan.prefix}", flush=True)  # noqa: T201
    grace = float(env.get("DBT_OPERATOR_UPLOAD_GRACE", GRACE_SECONDS))
    summary = Uploader(layout, plan.prefix, lambda: MinioStore(plan, env), grace_seconds=grace).run(stop)
    summary = UploadSummary(f"s3://{plan.bucket}/{plan.prefix}", summary.objects, summary.size, summary.error)
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
