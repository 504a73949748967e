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
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from dbt_protocol.plans import UploadPlan
from dbt_protocol.summaries import PROGRESS_WINDOWS, STATE_LACKS, STATE_UPLOADED, UploadSummary
from dbt_runner import cache_files
from dbt_runner.artifact_files import MANIFEST
from dbt_runner.bucket import MinioStore
from dbt_runner.layout import Layout
from dbt_runner.presence import Watch
from dbt_runner.upload.digesting import DIGEST, keep_digest, read_digest
from dbt_runner.upload.discovery import Discovery
from dbt_runner.upload.teller import Teller
from dbt_runner.upload.transfers import Store, Transfer, Transfers, Worth
from dbt_runner.volume import Volume

POLL_SECONDS = 0.2
GRACE_SECONDS = (
    50.0  # of the pod's 120; dbt has had 60 of them, and a last try may still be under way
)
_REPORT_BYTES = 16384  # a termination message is shorter


@dataclass
class Uploader:
    """Finds what is to be uploaded and sees it through."""

    layout: Layout
    plan: UploadPlan
    store: Callable[[], Store]  # called when the first object is there, not before
    poll_seconds: float = POLL_SECONDS
    grace_seconds: float = GRACE_SECONDS
    _volume: Volume = field(init=False)
    _discovery: Discovery = field(init=False)
    _transfers: Transfers = field(init=False)
    _opened: Store | None = None
    _opening: threading.Lock = field(default_factory=threading.Lock)
    _restoring: threading.Thread | None = None
    _has_digest: bool = False
    _is_over: bool = False  # nothing more is to be said

    def __post_init__(self) -> None:
        self._volume = Volume(self.layout.shared)
        self._discovery = Discovery(self.layout, self.plan, self._volume)
        self._transfers = Transfers(self._volume, self._connect)

    def run(self, stop: threading.Event) -> UploadSummary:
        """Upload until dbt has ended or ``stop`` is set; then what is left, for as long as the
        grace period lasts.
        """
        watch, teller = Watch(self.layout.alive), Teller(self.layout.progress)
        if watch.over and (reported := self._read_report()):
            return reported
        if self.plan.cache:
            self._restoring = threading.Thread(target=self._restore_cache, daemon=True)
            self._restoring.start()
        while not stop.is_set() and not watch.over:
            self._take_in(self._discovery.find_finished())
            self._transfers.refresh()
            teller.look()
            stop.wait(self.poll_seconds)
        deadline = time.monotonic() + self.grace_seconds
        self._take_in(self._discovery.find_rest())
        self._has_digest = keep_digest(self.layout, self._volume)
        if self._has_digest:
            key, path = f"{self.plan.prefix}/{DIGEST}", self.layout.run / DIGEST
            self._transfers.add(Transfer(key, path, Worth.RESULTS))
        self._transfers.finish(deadline)
        if self._restoring is not None:
            self._restoring.join(max(0.0, deadline - time.monotonic()))
        self._is_over = True
        summary = self._summarize()
        if watch.over:
            self._keep_report(summary)
        return summary

    def list_digest(self) -> list[str]:
        """The lines of the digest, if there is one."""
        return read_digest(self.layout, self._volume)

    @property
    def hangs(self) -> bool:
        """Whether a thread is still at something that nobody waits for any more."""
        return self._restoring is not None and self._restoring.is_alive()

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

    def _take_in(self, found: Iterable[Transfer]) -> None:
        for transfer in found:
            self._transfers.add(transfer)

    def _restore_cache(self) -> None:
        """Fetch the parse cache while dbt is being imported, and say when there is nothing more to
        wait for.
        """
        try:
            self._connect().get(self.plan.cache, self._volume, cache_files.restored(self.layout))
        except Exception as error:  # noqa: BLE001 - nobody misses a cache
            if not self._is_over:
                print(f"dbt-operator: there is no parse cache: {error}", flush=True)
        finally:
            cache_files.announce(self.layout)

    def _connect(self) -> Store:
        with self._opening:
            if self._opened is None:
                self._opened = self.store()
            return self._opened

    def _summarize(self) -> UploadSummary:
        wanted = [each for each in self._transfers.all.values() if not each.is_optional]
        stored = [each for each in wanted if each.is_stored]
        missing = [each for each in wanted if not each.is_stored]
        error = self._discovery.trouble
        if missing:
            first = next((each.last for each in missing if each.last), None)
            why = str(first) if first else "the grace period was over"
            error = f"{len(missing)} of {len(wanted)} objects were not uploaded: {why}"
        return UploadSummary(
            location="",
            objects=len(stored),
            size=sum(each.size for each in stored),
            error=error,
            windows=self._read_windows(),
            state=self._judge_state(),
            digest=self._has_digest,
        )

    def _judge_state(self) -> str:
        """Whether later runs can compare with what this one leaves."""
        if not self.plan.state:
            return ""
        prefix = f"{self.plan.state}/"
        found = [each for each in self._transfers.all.values() if each.key.startswith(prefix)]
        has_manifest = any(each.key == prefix + MANIFEST for each in found)
        is_whole = has_manifest and all(each.is_stored for each in found)
        return STATE_UPLOADED if is_whole else STATE_LACKS

    def _read_windows(self) -> str:
        """How the windows stand, as the supervisor has left it."""
        try:
            return self._volume.read(self.layout.windows, PROGRESS_WINDOWS).decode()
        except (OSError, ValueError):
            return ""


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
    uploader = Uploader(layout, plan, lambda: MinioStore(plan.bucket, env), grace_seconds=grace)
    summary = uploader.run(stop)
    summary = replace(summary, location=f"s3://{plan.bucket.name}/{plan.prefix}")
    layout.report(summary.to_json())
    print("\n".join([*(uploader.list_digest() if summary.digest else ()), _told(summary)]))
    sys.stdout.flush()
    code = 1 if summary.error else 0
    if summary.error or uploader.hangs:
        os._exit(code)  # something may still hang in a thread, and the message is out
    return code


def _told(summary: UploadSummary) -> str:
    what = f"{summary.objects} objects, {summary.size} bytes, to {summary.location}"
    return f"dbt-operator: uploaded {what}" + (f"; {summary.error}" if summary.error else "")
