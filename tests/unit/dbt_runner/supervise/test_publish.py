"""What becomes of a step's folder."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dbt_runner.redact import Redactor
from dbt_runner.supervise import sql_archive
from dbt_runner.supervise.publish import publish
from dbt_runner.volume import remove_folder
from tests.support.hostile_files import make_nested
from tests.support.pods import end_later
from tests.support.sidecars import FakeStore, Sidecar, new_layout
from tests.support.sql_archives import read_archive

SECRET = "correct-horse"  # noqa: S105 -- it is looked for


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    for name in ("compiled/shop/models/a.sql", "run/shop/models/a.sql"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(f"select '{SECRET}' -- {name}")
    return folder


def hand_over(work: Path) -> str:
    redactor = Redactor([SECRET])
    return publish(work, work.with_name("final"), redactor, work.with_name("none")).missing


def test_sql_is_packed_without_secrets(work: Path) -> None:
    assert hand_over(work) == ""
    assert read_archive(work.with_name("final")) == {
        f"{folder}/shop/models/a.sql": f"select '*****' -- {folder}/shop/models/a.sql"
        for folder in ("compiled", "run")
    }


def test_a_step_without_sql_has_no_archive(tmp_path: Path) -> None:
    assert hand_over(tmp_path / "work") == ""
    assert not list((tmp_path / "final").iterdir())


def test_eight_thousand_files_are_a_handful_of_objects(tmp_path: Path) -> None:
    """Each object costs requests, which take 50 ms each where the store is far away."""
    layout = new_layout(tmp_path)
    step = layout.work / "1-build"
    for folder in ("compiled", "run"):
        (step / folder / "shop").mkdir(parents=True)
        for number in range(4000):
            (step / folder / f"shop/{number}.sql").write_text(f"select {number}")
    for name in ("manifest.json", "run_results.json", "dbt.log"):
        (step / name).write_text("{}")
    redactor = Redactor([SECRET])
    found = publish(step, layout.artifacts / "1-build", redactor, tmp_path / "none")
    assert not found.missing
    store = FakeStore()
    assert Sidecar(layout, lambda: store).end().error == ""
    assert sorted(key.rpartition("/")[2] for key in store.objects) == [
        "compiled.tar.gz",
        "dbt.log",
        "manifest.json",
        "run_results.json",
    ]


def link_out(path: Path) -> None:
    path.symlink_to("/proc/self/environ")


def make_sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def make_deep(path: Path) -> None:
    make_nested(path, 1200)
    end_later(lambda: remove_folder(path.parents[2] / "final"))  # where it is by then


@pytest.mark.parametrize("make", [link_out, os.mkfifo, make_sparse, make_deep])
def test_what_is_no_plain_file_is_left_out_and_told(
    work: Path, make: Callable[[Path], None]
) -> None:
    make(work / "compiled/bad")
    assert hand_over(work).startswith("compiled.tar.gz leaves out 1 files: ")
    assert len(read_archive(work.with_name("final"))) == 2


@pytest.mark.parametrize("name", ["manifest.json", "run_results.json", "dbt.log"])
@pytest.mark.parametrize("make", [link_out, os.mkfifo, make_sparse])
def test_an_artifact_that_is_no_plain_file_keeps_nobody_busy(
    work: Path, make: Callable[[Path], None], name: str
) -> None:
    make(work / name)
    assert hand_over(work) == ""
    assert len(read_archive(work.with_name("final"))) == 2


@pytest.mark.parametrize(("limit", "value"), [("MOST_FILES", 2), ("MOST_BYTES", 50)])
def test_of_too_many_files_the_first_are_kept(
    work: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    (work / "run/shop/models/b.sql").write_text("select 2")
    monkeypatch.setattr(sql_archive, limit, value)
    assert hand_over(work) == (
        "compiled.tar.gz holds the first 2 files only: there are too many of them"
    )
    assert len(read_archive(work.with_name("final"))) == 2


def test_names_in_any_bytes_are_kept(work: Path) -> None:
    name = os.fsdecode(b"compiled/\xff\n.sql")
    (work / name).write_text("select 1")
    assert hand_over(work) == ""
    assert read_archive(work.with_name("final"))[name] == "select 1"


def test_a_disk_that_is_full_is_told_and_ends_nothing(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "addfile", refuse)
    assert hand_over(work) == "compiled.tar.gz cannot be written: No space left on device"
    assert not list(work.with_name("final").glob("*.tar.gz*"))


def test_a_secret_is_found_where_it_is_cut_by_the_parts_in_which_a_file_is_read(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dbt_runner.redact._PART_BYTES", 8)
    for offset in range(20):
        (work / "dbt.log").write_text("x" * offset + SECRET + "y" * 20)
        Redactor([SECRET, "another-secret"]).file(work / "dbt.log")
        assert (work / "dbt.log").read_text() == "x" * offset + "*****" + "y" * 20
