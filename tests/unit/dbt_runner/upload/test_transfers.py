"""In which order files are uploaded, and at what cost."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from pathlib import Path
from typing import Any

from dbt_runner.bucket import PARALLEL, UploadError
from dbt_runner.upload.transfers import Transfer, Transfers, Worth
from dbt_runner.volume import Volume
from tests.support.kube import PATIENCE
from tests.support.sidecars import FakeStore
from tests.support.waiting import eventually


class Gated(FakeStore):
    """Lets nothing arrive until it is opened, and keeps the order in which it was begun."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Semaphore(0)
        self.open = threading.Event()
        self.order: list[str] = []

    def put(self, key: str, *arguments: Any) -> None:
        self.order.append(key)
        self.begun.release()
        assert self.open.wait(PATIENCE)
        super().put(key, *arguments)


def test_the_most_worthy_goes_first_whenever_it_was_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    store = Gated()
    transfers = Transfers(Volume(tmp_path), lambda: store)
    for number in range(PARALLEL):
        transfers.add(Transfer(f"under way {number}", tmp_path / "file", Worth.DETAILS))
    for _ in range(PARALLEL):
        assert store.begun.acquire(timeout=PATIENCE)
    for worth in sorted(Worth, reverse=True):
        for number in range(20):
            transfers.add(Transfer(f"{worth.value}-{number:02}", tmp_path / "file", worth))
    store.open.set()
    transfers.finish(time.monotonic() + PATIENCE)
    found = [int(key[0]) for key in store.order if key[0].isdigit()]
    assert len(found) == 80
    # A thread may be held up between taking a file and saying so here, hence not all of them.
    assert count_in_order(found) >= 60, found


def count_in_order(numbers: list[int]) -> int:
    """The longest part of a list that is in order, others left out."""
    last: list[int] = []  # of the best part of each length
    for number in numbers:
        place = bisect_right(last, number)
        last[place : place + 1] = [number]
    return len(last)


def test_what_is_uploaded_costs_no_more_where_there_is_much_of_it(tmp_path: Path) -> None:
    """Files are looked at a few times each, and not again for each of the others."""
    (tmp_path / "file").write_text("x")
    looked: list[Path] = []

    class Counting(Volume):
        def version(self, path: Path) -> tuple[int, ...]:
            looked.append(path)
            return super().version(path)

    class FailsOnce(FakeStore):
        def put(self, key: str, *arguments: Any) -> None:
            if key not in self.types:
                self.types[key] = ""
                raise UploadError("it broke")
            super().put(key, *arguments)

    store = FailsOnce()
    transfers = Transfers(Counting(tmp_path), lambda: store)
    for number in range(2000):
        path = tmp_path / "file"
        transfers.add(Transfer(f"key-{number}", path, Worth.DETAILS, changes=True))
    transfers.finish(time.monotonic() + PATIENCE)
    assert len(store.objects) == 2000
    assert all(each.is_stored for each in transfers.all.values())
    assert len(looked) <= 5 * 2000


LARGE = b"{}" * (1 << 20)


def upload(store: FakeStore, folder: Path, *names: str) -> Transfers:
    """Upload one file after another."""
    transfers = Transfers(Volume(folder), lambda: store)
    for name in names:
        transfers.add(Transfer(name, folder / name, Worth.RESULTS))
        eventually(lambda: all(each.is_stored for each in transfers.all.values()))
    transfers.finish(time.monotonic() + PATIENCE)
    return transfers


def test_a_file_with_two_names_is_sent_once(tmp_path: Path) -> None:
    (tmp_path / "step").write_bytes(LARGE)
    (tmp_path / "state").hardlink_to(tmp_path / "step")
    (tmp_path / "other").write_bytes(LARGE)
    store = FakeStore()
    transfers = upload(store, tmp_path, "step", "state", "other")
    assert store.copies == {"state": "step"}
    assert store.objects == dict.fromkeys(["step", "state", "other"], LARGE)
    assert [each.size for each in transfers.all.values()] == [len(LARGE)] * 3


def test_a_small_file_is_sent_again_for_that_is_less_work(tmp_path: Path) -> None:
    (tmp_path / "step").write_bytes(b"{}")
    (tmp_path / "state").hardlink_to(tmp_path / "step")
    store = FakeStore()
    upload(store, tmp_path, "step", "state")
    assert not store.copies
    assert store.objects == dict.fromkeys(["step", "state"], b"{}")


def test_a_file_that_was_written_to_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "step").write_bytes(LARGE)
    (tmp_path / "state").hardlink_to(tmp_path / "step")

    class Writing(FakeStore):
        """Somebody writes to the file while it is being sent."""

        def put(self, key: str, *arguments: Any) -> None:
            super().put(key, *arguments)
            (tmp_path / "step").write_bytes(LARGE[::-1])

    store = Writing()
    upload(store, tmp_path, "step", "state")
    assert not store.copies
    assert store.objects["state"] == LARGE[::-1]


def test_where_the_store_makes_no_copy_it_is_sent(tmp_path: Path) -> None:
    (tmp_path / "step").write_bytes(LARGE)
    (tmp_path / "state").hardlink_to(tmp_path / "step")

    class Plain(FakeStore):
        def copy(self, *_: object) -> None:
            raise UploadError("NotImplemented", final=True)

    store = Plain()
    transfers = upload(store, tmp_path, "step", "state")
    assert store.objects == dict.fromkeys(["step", "state"], LARGE)
    assert all(each.is_stored and each.last is None for each in transfers.all.values())
