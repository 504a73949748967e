"""The sidecar with a bucket in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from dbt_protocol.plans import Bucket, UploadPlan
from dbt_protocol.summaries import UploadSummary
from dbt_runner.bucket import UploadError
from dbt_runner.layout import Layout
from dbt_runner.upload.transfers import Store
from dbt_runner.upload.uploader import Uploader
from dbt_runner.volume import Volume
from tests.support.kube import PATIENCE
from tests.support.pods import end_later

PLAN = UploadPlan(
    Bucket("https://store", "b"), "runs/one", run="runs", state="state", cache="cache/one.zip"
)


class FakeStore:
    """Keeps objects in memory, after as many failures as it is told to have."""

    def __init__(self, failures: int = 0, *, final: bool = False) -> None:
        self.objects: dict[str, bytes] = {}
        self.types: dict[str, str] = {}
        self.copies: dict[str, str] = {}  # what each has been copied from
        self.failures = failures
        self.final = final
        self.arrived = threading.Condition()

    def put(self, key: str, file: BinaryIO, size: int, content_type: str) -> None:
        with self.arrived:
            if self.failures:
                self.failures -= 1
                raise UploadError("https://store, bucket b: it broke", final=self.final)
            self.objects[key] = file.read(size)
            self.types[key] = content_type
            self.arrived.notify_all()

    def copy(self, source: str, key: str, size: int) -> None:
        with self.arrived:
            assert len(self.objects[source]) == size
            self.objects[key] = self.objects[source]
            self.copies[key] = source
            self.arrived.notify_all()

    def get(self, key: str, volume: Volume, path: Path) -> bool:
        with self.arrived:
            if key in self.objects:
                with volume.replacing(path) as file:
                    file.write(self.objects[key])
            return key in self.objects

    def wait_for(self, key: str) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: key in self.objects, PATIENCE)


class Sidecar:
    def __init__(self, layout: Layout, store: Callable[[], Store], grace: float = 30) -> None:
        self.stop = threading.Event()
        self.summary = UploadSummary("")
        self._uploader = Uploader(layout, PLAN, store, poll_seconds=0.01, grace_seconds=grace)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        end_later(self.stop.set)

    def _run(self) -> None:
        self.summary = self._uploader.run(self.stop)

    def end(self) -> UploadSummary:
        self.stop.set()
        return self.wait()

    def wait(self) -> UploadSummary:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.summary


def new_layout(root: Path) -> Layout:
    """The folders of a pod, as the init container leaves them."""
    layout = Layout(str(root))
    (root / "dev").mkdir()
    layout.work.mkdir(parents=True)
    layout.artifacts.mkdir()
    return layout


def finish_step(layout: Layout, name: str, **files: str) -> None:
    work = layout.work / name
    for path, text in files.items():
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_text(text)
    work.rename(layout.artifacts / name)


BUILD = {
    "manifest.json": "{}",
    "compiled.tar.gz": "8 bytes.",
    "compiled/shop/models/a.sql": "select 1",
    "dbt.log": "log",
    "dbt.log.1": "older log",
    "graph.gpickle": "x",
    "partial_parse.msgpack": "x",
    "run/shop/models/a.sql": "create",
}
