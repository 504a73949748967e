"""Files of Git LFS of which a project has only the pointers."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from dbt_runner.prepare.lfs_pointers import refuse_pointers
from dbt_runner.prepare.project_folder import PrepareError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


def write(folder: Path, name: str | bytes, content: bytes) -> None:
    path = folder / os.fsdecode(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("seeds/cities.csv", POINTER),
        ("models/a.sql", POINTER.replace(b"\n", b"\r\n")),
        ("models/docs.md", POINTER.replace(b"oid", b"ext-0-foo sha256:1\noid")),
        ("dbt_project.yml", POINTER),
        ("data/cities.parquet", POINTER),
        ("data/cities", POINTER + b"\n" * (1024 - len(POINTER))),
    ],
)
def test_a_pointer_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    write(tmp_path / "dbt", name, content)
    with pytest.raises(PrepareError) as error:
        refuse_pointers(tmp_path, [PurePosixPath("dbt")], "the repository", "fetch it")
    assert str(error.value).startswith(f"the repository: dbt/{name}, which the project holds, is")
    assert str(error.value).endswith("not the file itself: fetch it")


def test_the_first_of_several_is_named_in_letters(tmp_path: Path) -> None:
    write(tmp_path, b"a\xff.csv", POINTER)
    write(tmp_path, "z.csv", POINTER)
    with pytest.raises(PrepareError, match="x: a\ufffd\\.csv and 1 more, which"):
        refuse_pointers(tmp_path, [PurePosixPath()], "x", "fetch it")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("assets/logo.png", POINTER),
        ("assets/manual.pdf", POINTER),
        ("models/a.sql", POINTER[1:]),
        ("models/a.sql", POINTER.replace(b"size", b"length")),
        ("models/a.sql", POINTER.replace(b"oid", b"id")),
        ("models/a.sql", POINTER + b"-" * 1024),
        ("models/a.sql", b""),
        ("models/a.sql", b"\xff"),
    ],
)
def test_other_files_are_none(tmp_path: Path, name: str, content: bytes) -> None:
    write(tmp_path / "dbt", name, content)
    write(tmp_path, "elsewhere/cities.csv", POINTER)
    (tmp_path / "dbt/gone.csv").symlink_to("nowhere")
    (tmp_path / "dbt/link.csv").symlink_to("../elsewhere/cities.csv")
    refuse_pointers(tmp_path, [PurePosixPath("dbt")], "the repository", "fetch it")


def test_a_place_may_be_a_file(tmp_path: Path) -> None:
    """A link leads to it."""
    write(tmp_path, "data/cities.csv", POINTER)
    with pytest.raises(PrepareError, match=r"data/cities\.csv, which"):
        refuse_pointers(tmp_path, [PurePosixPath("data/cities.csv")], "x", "fetch it")
