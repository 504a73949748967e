"""The sidecar, with a store that can be told to fail, and with a real MinIO where one is at
hand.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from dbt_protocol.plans import Bucket, UploadPlan
from dbt_protocol.summaries import STATE_LACKS, STATE_UPLOADED, UploadSummary
from dbt_runner import cache_files
from dbt_runner.bucket import PARALLEL, MinioStore, UploadError
from dbt_runner.layout import Layout
from dbt_runner.presence import held
from dbt_runner.upload.transfers import Store, find_content_type
from dbt_runner.volume import Volume
from dbt_runner.worker import cache
from tests.support.free_ports import find_free_port
from tests.support.hostile_files import make_nested
from tests.support.kube import PATIENCE
from tests.support.sidecars import (
    BUILD,
    PLAN,
    FakeStore,
    Sidecar,
    finish_step,
    new_layout,
)
from tests.support.waiting import eventually


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return new_layout(tmp_path)


def test_a_finished_step_is_uploaded_at_once(layout: Layout) -> None:
    store = FakeStore()
    sidecar = Sidecar(layout, lambda: store)
    finish_step(layout, "1-build", **BUILD)
    store.wait_for("runs/one/1-build/dbt.log.1")
    assert not sidecar.stop.is_set()
    layout.result.write_text("{}")
    summary = sidecar.end()
    assert set(store.objects) == {
        "runs/one/1-build/manifest.json",
        "runs/one/1-build/compiled.tar.gz",
        "runs/one/1-build/dbt.log",
        "runs/one/1-build/dbt.log.1",
        "runs/one/result.json",
    }
    assert (summary.objects, summary.size, summary.error) == (5, 24, "")


def test_the_logs_of_a_step_that_died_are_uploaded_in_the_end(layout: Layout) -> None:
    store = FakeStore()
    for name in ("dbt.log", "events.jsonl", "run_results.json"):
        (layout.work / "2-run").mkdir(exist_ok=True)
        (layout.work / "2-run" / name).write_text("x")
    (layout.parse / "0").mkdir(parents=True)
    (layout.parse / "0/dbt.log").write_text("x")
    assert Sidecar(layout, lambda: store).end().error == ""
    assert set(store.objects) == {"runs/one/2-run/dbt.log", "runs/one/2-run/events.jsonl"}


def test_a_store_that_comes_back_gets_everything(layout: Layout) -> None:
    store = FakeStore(failures=3)
    finish_step(layout, "1-build", **BUILD)
    assert Sidecar(layout, lambda: store).end() == UploadSummary("", 4, 22, state=STATE_LACKS)


def test_a_store_that_stays_away_ends_with_the_grace_period(layout: Layout) -> None:
    finish_step(layout, "1-build", **{"manifest.json": "{}"})
    summary = Sidecar(layout, lambda: FakeStore(failures=1000), grace=0.2).end()
    assert summary.error == "1 of 1 objects were not uploaded: https://store, bucket b: it broke"


def test_an_upload_that_hangs_ends_with_the_grace_period(layout: Layout) -> None:
    release = threading.Event()

    class Hanging(FakeStore):
        def put(self, *_: object) -> None:
            release.wait(PATIENCE)

    finish_step(layout, "1-build", **{"manifest.json": "{}"})
    try:
        summary = Sidecar(layout, Hanging, grace=0.2).end()
    finally:
        release.set()
    assert summary.error == "1 of 1 objects were not uploaded: the grace period was over"


def test_what_failed_is_said_also_when_the_next_try_hangs(layout: Layout) -> None:
    release = threading.Event()
    again = threading.Event()

    class FailsThenHangs(FakeStore):
        tries = 0

        def put(self, *_: object) -> None:
            self.tries += 1
            if self.tries == 1:
                raise UploadError("https://store, bucket b: it broke")
            again.set()
            release.wait(PATIENCE)

    finish_step(layout, "1-build", **{"manifest.json": "{}"})
    sidecar = Sidecar(layout, FailsThenHangs, grace=0.2)
    try:
        assert again.wait(PATIENCE)
        summary = sidecar.end()
    finally:
        release.set()
    assert summary.error == "1 of 1 objects were not uploaded: https://store, bucket b: it broke"


def test_a_refusal_is_not_waited_out(layout: Layout) -> None:
    finish_step(layout, "1-build", **{"manifest.json": "{}"})
    store = FakeStore(failures=1000, final=True)
    assert Sidecar(layout, lambda: store, grace=10 * PATIENCE).end().error


def test_without_artifacts_the_store_is_not_opened(layout: Layout) -> None:
    def refuse() -> Store:
        raise AssertionError("opened")

    assert Sidecar(layout, refuse).end() == UploadSummary("", state=STATE_LACKS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("manifest.json", "application/json"),
        ("events.jsonl", "application/x-ndjson"),
        ("index.html", "text/html; charset=utf-8"),
        ("a.sql", "text/plain; charset=utf-8"),
        ("dbt.log", "text/plain; charset=utf-8"),
    ],
)
def test_content_types(name: str, expected: str) -> None:
    assert find_content_type(Path(name)) == expected


def test_a_store_that_cannot_be_reached_is_named_without_keys(tmp_path: Path) -> None:
    plan = UploadPlan(
        Bucket(f"http://127.0.0.1:{find_free_port()}", "dbt", "us-east-1"), "runs/one"
    )
    store = MinioStore(
        plan.bucket,
        {"AWS_ACCESS_KEY_ID": "the-access-key", "AWS_SECRET_ACCESS_KEY": "the-secret-key"},
    )
    path = tmp_path / "manifest.json"
    path.write_text("{}")
    with path.open("rb") as file, pytest.raises(UploadError) as error:
        store.put("runs/one/manifest.json", file, 2, "application/json")
    assert plan.bucket.endpoint in str(error.value)
    assert "bucket dbt" in str(error.value)
    assert "-key" not in str(error.value)
    assert not error.value.final


class Objects(BaseHTTPRequestHandler):
    """As much of an object store as the client needs for one object."""

    content = b""

    def do_PUT(self) -> None:
        type(self).content = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(self.content)

    def do_HEAD(self) -> None:
        self._answer(self.content)

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("ETag", '"one"')
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_so_much_of_a_file_as_is_wanted_is_uploaded_and_downloaded(tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), Objects) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        bucket = Bucket(f"http://127.0.0.1:{server.server_port}", "dbt", "us-east-1")
        store = MinioStore(bucket, {"AWS_ACCESS_KEY_ID": "some", "AWS_SECRET_ACCESS_KEY": "key"})
        (tmp_path / "up").write_bytes(b"1234 and more")
        with (tmp_path / "up").open("rb") as file:
            store.put("runs/one/x.json", file, 4, "application/json")
        assert store.get("runs/one/x.json", Volume(tmp_path), tmp_path / "down")
        server.shutdown()
    assert Objects.content == b"1234"
    assert (tmp_path / "down").read_bytes() == b"1234"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["down", "up"]


def test_what_belongs_to_the_run_goes_beside_its_attempts(layout: Layout) -> None:
    store = FakeStore()
    for folder, name in ((layout.run, "result.json"), (layout.new_state, "manifest.json")):
        folder.mkdir()
        (folder / name).write_text("{}")
        (folder / f".{name}").write_text("not complete")
    assert Sidecar(layout, lambda: store).end().objects == 2
    assert set(store.objects) == {"runs/result.json", "state/manifest.json"}


def test_the_parse_cache_is_restored_while_dbt_starts_and_stored_as_soon_as_there_is_one(
    layout: Layout,
) -> None:
    store = FakeStore()
    store.objects[PLAN.cache] = b"old"
    for folder in (layout.cache, layout.new_cache):
        folder.mkdir()
    with held(layout.alive):
        sidecar = Sidecar(layout, lambda: store)
        assert cache.unpack(layout, layout.project) == [], "it is no archive, but it has come"
        assert cache_files.restored(layout).read_bytes() == b"old"
        cache_files.stored(layout).write_bytes(b"new")
        with store.arrived:
            assert store.arrived.wait_for(lambda: store.objects[PLAN.cache] == b"new", PATIENCE)
    assert sidecar.wait().objects == 0, "nobody counts it"


def test_a_cache_that_cannot_be_stored_is_no_failure(layout: Layout) -> None:
    store = FakeStore(failures=99)
    for folder in (layout.cache, layout.new_cache):
        folder.mkdir()
    cache_files.stored(layout).write_bytes(b"new")
    assert Sidecar(layout, lambda: store).end() == UploadSummary("", state=STATE_LACKS)


@pytest.mark.parametrize("is_late", [True, False])
def test_a_cache_that_cannot_be_fetched_is_told_as_long_as_somebody_listens(
    layout: Layout, capsys: pytest.CaptureFixture[str], *, is_late: bool
) -> None:
    release = threading.Event()

    class Hanging(FakeStore):
        def get(self, key: str, volume: Volume, path: Path) -> bool:
            release.wait(PATIENCE)
            raise UploadError(f"{key} {volume} {path}: it hung")

    layout.cache.mkdir()
    if not is_late:
        release.set()
    assert Sidecar(layout, Hanging, grace=0.2 if is_late else PATIENCE).end().error == ""
    release.set()
    eventually((layout.cache / cache_files.READY).exists)
    assert ("there is no parse cache" in capsys.readouterr().out) is not is_late


def test_it_ends_by_itself_when_dbt_has_ended(layout: Layout) -> None:
    store = FakeStore()
    finish_step(layout, "1-build", **{"manifest.json": "{}"})
    with held(layout.alive):
        sidecar = Sidecar(layout, lambda: store)
        store.wait_for("runs/one/1-build/manifest.json")
        layout.result.write_text("{}")
    assert sidecar.wait().objects == 2
    assert not sidecar.stop.is_set()


def test_one_that_is_started_again_after_the_end_reports_the_same_and_uploads_nothing(
    layout: Layout,
) -> None:
    finish_step(layout, "1-build", **{"manifest.json": "{}"})
    with held(layout.alive):
        pass
    first = Sidecar(layout, FakeStore).wait()
    assert first.objects == 1
    store = FakeStore()
    assert Sidecar(layout, lambda: store).wait() == first
    assert not store.objects


def test_one_that_was_killed_before_it_could_report_is_followed_by_one_that_uploads(
    layout: Layout,
) -> None:
    finish_step(layout, "1-build", **{"manifest.json": "{}"})
    layout.uploaded.write_text('{"protocol": 1, "objects": ')
    with held(layout.alive):
        pass
    store = FakeStore()
    assert Sidecar(layout, lambda: store).wait().objects == 1
    assert set(store.objects) == {"runs/one/1-build/manifest.json"}


def test_what_is_reported_while_dbt_runs_is_no_report_of_its_end(layout: Layout) -> None:
    """Somebody has told the sidecar to end, and the kubelet starts it again."""
    with held(layout.alive):
        assert Sidecar(layout, FakeStore).end().objects == 0
        finish_step(layout, "1-build", **{"manifest.json": "{}"})
    assert Sidecar(layout, FakeStore).wait().objects == 1


def write_result(layout: Layout, text: str) -> None:
    """As the supervisor does: the file is complete whenever it is there."""
    layout.run.mkdir(exist_ok=True)
    partial = layout.run / ".result.json"
    partial.write_text(text)
    partial.replace(layout.run / "result.json")


def test_a_result_that_changes_while_it_is_uploaded_is_uploaded_again(layout: Layout) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Slow(FakeStore):
        def put(self, *arguments: Any) -> None:
            begun.set()
            assert go_on.wait(PATIENCE)
            super().put(*arguments)

    store = Slow()
    layout.windows.write_text(">-")
    write_result(layout, '{"codes":">-"}')
    sidecar = Sidecar(layout, lambda: store)
    assert begun.wait(PATIENCE)
    layout.windows.write_text("+>")
    write_result(layout, '{"codes":"+>"}')
    sidecar.stop.set()
    go_on.set()
    summary = sidecar.wait()
    assert store.objects == {"runs/result.json": b'{"codes":"+>"}'}
    assert (summary.windows, summary.objects, summary.size, summary.error) == ("+>", 1, 14, "")


def test_without_windows_a_result_is_taken_in_at_the_end_only(layout: Layout) -> None:
    store = FakeStore()
    write_result(layout, "early")
    sidecar = Sidecar(layout, lambda: store)
    finish_step(layout, "1-build", **BUILD)
    store.wait_for("runs/one/1-build/dbt.log.1")
    assert "runs/result.json" not in store.objects
    assert sidecar.end().windows == ""
    assert store.objects["runs/result.json"] == b"early"


def test_of_a_window_that_was_cut_off_what_had_ended_is_uploaded(layout: Layout) -> None:
    store = FakeStore()
    window = Layout(layout.root, "2024-01-01")
    (window.work / "2-docs").mkdir(parents=True)
    (window.work / "2-docs/dbt.log").write_text("log")
    (window.work / "2-docs/manifest.json").write_text("{}")
    (window.artifacts / "1-build").mkdir(parents=True)
    for name in ("1-build/run_results.json", "1-build/graph.gpickle", "1-build/compiled.tar.gz"):
        (window.artifacts / name).write_text("x")
    (window.parse / "0").mkdir(parents=True)
    (window.parse / "0/dbt.log").write_text("x")
    layout.windows.write_text("x" * 1000)
    summary = Sidecar(layout, lambda: store).end()
    prefix = "runs/one/2024-01-01"
    assert set(store.objects) == {
        f"{prefix}/2-docs/dbt.log",
        f"{prefix}/1-build/run_results.json",
        f"{prefix}/1-build/compiled.tar.gz",
    }
    assert len(summary.windows) == 100, "a termination message is short"


SECRET = "the-bucket-key"  # noqa: S105 -- looked for where it must not be


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A folder that only the sidecar can read, with files of the names that it looks for."""
    folder = tmp_path / "proc"
    for name in (
        "manifest.json",
        "result.json",
        "dbt.log",
        "parse.zip",
        "1-build/manifest.json",
        "compiled/a.sql",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(SECRET)
    return folder


def link_file(layout: Layout, private: Path) -> None:
    finish_step(layout, "1-build", **{"run_results.json": "{}"})
    (layout.artifacts / "1-build/manifest.json").symlink_to(private / "manifest.json")


def link_result(layout: Layout, private: Path) -> None:
    layout.result.symlink_to(private / "result.json")


def link_step(layout: Layout, private: Path) -> None:
    (layout.artifacts / "1-build").symlink_to(private)


def link_inner_folder(layout: Layout, private: Path) -> None:
    finish_step(layout, "1-build", **{"run_results.json": "{}"})
    (layout.artifacts / "1-build/compiled").symlink_to(private)


def link_artifacts(layout: Layout, private: Path) -> None:
    layout.artifacts.rmdir()
    layout.artifacts.symlink_to(private)


def link_run(layout: Layout, private: Path) -> None:
    layout.run.symlink_to(private)
    layout.new_state.symlink_to(private)


def link_inner_of_run(layout: Layout, private: Path) -> None:
    layout.windows.write_text("+")
    for folder in (layout.run, layout.new_state):
        folder.mkdir()
        (folder / "result.json").symlink_to(private / "result.json")


def link_log(layout: Layout, private: Path) -> None:
    (layout.work / "2-run").mkdir()
    (layout.work / "2-run/dbt.log").symlink_to(private / "dbt.log")
    (layout.work / "3-run").symlink_to(private)


def link_window(layout: Layout, private: Path) -> None:
    (layout.work / "2024-01-01").mkdir()
    (layout.work / "2024-01-01/.ended").symlink_to(private)
    (layout.artifacts / "2024-01-02").mkdir()
    (layout.artifacts / "2024-01-02/result.json").write_text("{}")
    (layout.artifacts / "2024-01-02/1-build").symlink_to(private)


def link_cache(layout: Layout, private: Path) -> None:
    layout.new_cache.symlink_to(private)
    layout.cache.symlink_to(private)


def link_words(layout: Layout, private: Path) -> None:
    layout.windows.symlink_to(private / "result.json")
    layout.progress.symlink_to(private / "result.json")
    layout.alive.symlink_to(private / "result.json")


LINKS = [
    link_file,
    link_result,
    link_step,
    link_inner_folder,
    link_artifacts,
    link_run,
    link_inner_of_run,
]
LINKS += [link_log, link_window, link_cache, link_words]


@pytest.mark.parametrize("link", LINKS)
def test_no_link_leads_to_what_only_the_sidecar_can_read(
    layout: Layout,
    private: Path,
    link: Callable[[Layout, Path], None],
    capfd: pytest.CaptureFixture[str],
) -> None:
    before = {path: path.read_bytes() for path in private.rglob("*") if path.is_file()}
    link(layout, private)
    store = FakeStore()
    store.objects[PLAN.cache] = b"cached"
    summary = Sidecar(layout, lambda: store).end()
    assert SECRET.encode() not in b"".join(store.objects.values())
    assert SECRET not in summary.to_json() + capfd.readouterr().out
    assert {path: path.read_bytes() for path in private.rglob("*") if path.is_file()} == before


def test_a_file_that_is_swapped_for_a_link_after_it_was_found_is_missing(
    layout: Layout, private: Path
) -> None:
    path = layout.artifacts / "1-build/manifest.json"

    class Swapping(FakeStore):
        def put(self, *_: object) -> None:
            path.unlink(missing_ok=True)
            path.symlink_to(private / "manifest.json")
            raise UploadError("it broke, so it is tried again")

    finish_step(layout, "1-build", **{"manifest.json": "{}"})
    summary = Sidecar(layout, Swapping, grace=60).end()
    assert summary.error.startswith(
        "1 of 1 objects were not uploaded: manifest.json: is no plain file"
    )


@pytest.mark.parametrize(
    "place",
    ["artifacts/1-build/manifest.json", "run/result.json", ".windows", ".progress.json", ".alive"],
)
def test_a_pipe_keeps_nobody_waiting(layout: Layout, place: str) -> None:
    finish_step(layout, "1-build", **{"run_results.json": "{}"})
    path = layout.shared / place
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    summary = Sidecar(layout, FakeStore, grace=10 * PATIENCE).end()
    assert bool(summary.error) == (not place.startswith("."))


@pytest.mark.parametrize("length", [1, 100_000])
def test_what_grows_or_shrinks_meanwhile_is_uploaded_as_it_was(layout: Layout, length: int) -> None:
    path = layout.artifacts / "1-build/manifest.json"

    class Changing(FakeStore):
        def put(self, *arguments: Any) -> None:
            with path.open("ab") as file:
                file.truncate(length)
            super().put(*arguments)

    finish_step(layout, "1-build", **{"manifest.json": "x" * 1000})
    store = Changing()
    summary = Sidecar(layout, lambda: store, grace=60).end()
    assert (summary.objects, summary.error) == (1, "")
    assert len(store.objects["runs/one/1-build/manifest.json"]) <= 1000


def test_what_matters_most_does_not_wait_behind_uploads_that_hang(layout: Layout) -> None:
    release, hanging = threading.Event(), threading.Semaphore(0)

    class Hanging(FakeStore):
        def put(self, key: str, *arguments: Any) -> None:
            if key.endswith("dbt.log"):
                hanging.release()
                release.wait(PATIENCE)
            super().put(key, *arguments)

    store = Hanging()
    for number in range(10):
        finish_step(layout, f"{number}-build", **{"dbt.log": "huge"})
    sidecar = Sidecar(layout, lambda: store)
    try:
        for _ in range(PARALLEL):
            assert hanging.acquire(timeout=PATIENCE)
        write_result(layout, "{}")
        sidecar.stop.set()
        store.wait_for("runs/result.json")
    finally:
        release.set()
    assert sidecar.wait().error == ""


@pytest.mark.parametrize(
    ("lost", "state"),
    [
        ("runs/one/1-build/compiled.tar.gz", STATE_UPLOADED),
        ("runs/one/1-build/manifest.json", STATE_UPLOADED),
        ("state/manifest.json", STATE_LACKS),
        ("state/run_results.json", STATE_LACKS),
    ],
)
def test_the_state_is_judged_by_its_own_objects(layout: Layout, lost: str, state: str) -> None:
    class Refusing(FakeStore):
        def put(self, key: str, *arguments: Any) -> None:
            if key == lost:
                raise UploadError("it broke", final=True)
            super().put(key, *arguments)

    finish_step(layout, "1-build", **BUILD)
    layout.new_state.mkdir()
    for name in ("manifest.json", "run_results.json"):
        (layout.new_state / name).write_text("{}")
    summary = Sidecar(layout, Refusing).end()
    assert (summary.state, summary.error) == (state, "1 of 6 objects were not uploaded: it broke")


def test_a_state_without_a_manifest_is_none(layout: Layout) -> None:
    layout.new_state.mkdir()
    (layout.new_state / "run_results.json").write_text("{}")
    assert Sidecar(layout, FakeStore).end().state == STATE_LACKS


def test_a_file_of_a_terabyte_is_left_where_it_is(layout: Layout) -> None:
    store = FakeStore()
    finish_step(layout, "1-build", **{"run_results.json": "{}", "dbt.log": ""})
    with (layout.artifacts / "1-build/dbt.log").open("ab") as file:
        file.truncate(1 << 40)
    summary = Sidecar(layout, lambda: store).end()
    assert set(store.objects) == {"runs/one/1-build/run_results.json"}
    assert (
        summary.error == "1 of 2 objects were not uploaded: dbt.log: has more than 1073741824 bytes"
    )


def test_thousands_of_folders_and_files_end_nothing(layout: Layout) -> None:
    store = FakeStore()
    for number in range(3000):
        (layout.artifacts / f"junk-{number}").mkdir()
        (layout.artifacts / f"{number}.json").write_text("{}")
    layout.result.write_text("{}")
    write_result(layout, "{}")
    summary = Sidecar(layout, lambda: store).end()
    assert set(store.objects) == {"runs/one/result.json", "runs/result.json"}
    assert summary.error == "'artifacts' holds more than 1000 names"


def test_folders_in_folders_are_not_followed(layout: Layout) -> None:
    finish_step(layout, "1-build", **{"run_results.json": "{}"})
    make_nested(layout.artifacts / "1-build/compiled", 1200)
    make_nested(layout.work / "2-run", 1200)
    assert Sidecar(layout, FakeStore).end().error == ""


@pytest.mark.parametrize("name", [b"1-\xff", b"1\n2", "1-bl\u00e4h".encode()])
def test_a_name_that_is_none_of_ours_is_told_and_breaks_nothing(
    layout: Layout, name: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    finish_step(layout, "1-build", **{"run_results.json": "{}"})
    folder = Path(os.fsdecode(os.fsencode(layout.artifacts) + b"/" + name))
    folder.mkdir()
    (folder / "dbt.log").write_text("x")
    store = FakeStore()
    summary = Sidecar(layout, lambda: store).end()
    assert set(store.objects) == {"runs/one/1-build/run_results.json"}
    assert summary.error.endswith("has a name that is none of ours")
    print(summary.error)
    assert capfd.readouterr().out.isascii()
    layout.report(summary.to_json())
    assert UploadSummary.from_json((Path(layout.root) / "dev/termination-log").read_text()).error
