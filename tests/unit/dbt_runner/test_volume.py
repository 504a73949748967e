"""Files that somebody else may have put there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dbt_runner.volume import (
    LARGEST_FILE,
    NotPlainError,
    Volume,
    open_plain,
    remove_folder,
    write_whole,
)
from tests.support.hostile_files import make_nested


def test_nothing_is_opened_on_another_device() -> None:
    with pytest.raises(NotPlainError, match="another device"):
        Volume(Path("/")).open(Path(f"/proc/{os.getpid()}/environ"))


def test_a_file_may_be_large_but_not_larger(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    path.touch()
    os.truncate(path, LARGEST_FILE)
    open_plain(path).close()
    os.truncate(path, LARGEST_FILE + 1)
    with pytest.raises(NotPlainError, match="more than"):
        open_plain(path)


def test_of_folders_in_folders_those_that_are_too_deep_are_named(tmp_path: Path) -> None:
    (tmp_path / "near").write_text("x")
    make_nested(tmp_path / "deep", 1200)
    volume = Volume(tmp_path)
    (near, _), (_, refused) = volume.walk(tmp_path)
    assert near == tmp_path / "near"
    with pytest.raises(NotPlainError):
        refused()


def test_a_listing_ends(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / str(number)).touch()
    assert len(Volume(tmp_path).entries(tmp_path, 5)) == 5


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/full")])
def test_writing_does_not_go_into_what_has_the_name(tmp_path: Path, make: object) -> None:
    assert callable(make)
    for name in (".result.json.partial", "result.json"):
        make(tmp_path / name)
    write_whole(tmp_path / "result.json", b"{}")
    with open_plain(tmp_path / "result.json") as file:
        assert file.read() == b"{}"
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_what_cannot_be_written_whole_leaves_nothing(tmp_path: Path) -> None:
    volume = Volume(tmp_path)

    def write_half() -> None:
        with volume.replacing(tmp_path / "a") as file:
            file.write(b"half")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_half()
    assert not list(tmp_path.iterdir())


def test_a_folder_is_removed_however_deep_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    make_nested(folder / "a", 1200)
    for path in ("a/b/c", "b/c", ".1.removed/x"):
        (folder / path).mkdir(parents=True)
        (folder / path / "file").touch()
    (folder / "link").symlink_to(tmp_path)
    (tmp_path / "kept").touch()
    remove_folder(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_link_is_not_followed_to_what_is_to_be_removed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    remove_folder(tmp_path / "link")
    assert (tmp_path / "kept/file").exists()


def test_a_folder_that_is_not_there_needs_no_removal(tmp_path: Path) -> None:
    remove_folder(tmp_path / "none")
