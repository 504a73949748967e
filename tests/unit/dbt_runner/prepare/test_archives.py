"""Archives of projects as other systems and programs make them."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dbt_runner.prepare.config_map import unpack_config_map
from dbt_runner.prepare.project_folder import PrepareError

PROJECT = "dbt_project.yml"
APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "
WHOLE = {PROJECT: b"name: shop", "models/a.sql": b"select 1"}
Make = Callable[[Path], bytes]


def pack(*members: tuple[tarfile.TarInfo, bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=kind) as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def pack_files(files: dict[str, bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    return pack(*(plain(name, content) for name, content in files.items()), kind=kind)


def plain(name: str, content: bytes, mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.mode = mode
    return info, content


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info, b""


def whole() -> list[tuple[tarfile.TarInfo, bytes]]:
    return [plain(name, content) for name, content in WHOLE.items()]


def unpack(folder: Path, archive: bytes) -> dict[str, bytes]:
    """What is in the project's folder afterwards, through links as well."""
    source, project = folder / "source", folder / "shared" / "project"
    source.mkdir()
    (source / "project.tgz").write_bytes(archive)
    project.parent.mkdir()
    unpack_config_map(source, project)
    found = (path for path in project.rglob("*") if path.is_file())
    return {str(path.relative_to(project)): path.read_bytes() for path in found}


def tar(folder: Path, *arguments: str) -> bytes:
    """What GNU tar makes of a folder ``made`` with a project."""
    made = folder / "made"
    (made / "models").mkdir(parents=True)
    for name, content in WHOLE.items():
        (made / name).write_bytes(content)
    os.link(made / "models/a.sql", made / "models/b.sql")
    (made / "models/c.sql").symlink_to("a.sql")
    with (made / "sparse.csv").open("wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 19)
        file.write(b"id\n")
    done = subprocess.run(["tar", "cz", *arguments], cwd=folder, check=True, capture_output=True)
    return done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["made"],
        ["--directory=made", "."],
        ["--sparse", "made"],
        ["--sparse", "--format=gnu", "made"],
        ["--sparse", "--format=pax", "./made"],
        ["--dereference", "--hard-dereference", "--format=ustar", "made"],
        ["--format=v7", "made"],
    ],
)
def test_what_gnu_tar_makes_is_unpacked(tmp_path: Path, arguments: list[str]) -> None:
    found = unpack(tmp_path, tar(tmp_path, *arguments))
    sparse = found.pop("sparse.csv")
    assert (len(sparse), sparse[1 << 19 :][:3], sparse.strip(b"\0")) == (1 << 20, b"id\n", b"id\n")
    assert found == WHOLE | {"models/b.sql": b"select 1", "models/c.sql": b"select 1"}


def test_names_that_begin_at_the_root_are_below_the_project(tmp_path: Path) -> None:
    """As for tar; and the folders that lead to the project are not of it."""
    archive = tar(tmp_path, "--absolute-names", str(tmp_path / "made"))
    assert set(unpack(tmp_path, archive)) >= set(WHOLE)


@pytest.mark.parametrize("top", ["", "./", "shop/", "./shop/", "home/me/shop/"])
def test_what_macos_puts_beside_files_is_left_out(tmp_path: Path, top: str) -> None:
    files = {f"{top}{name}": content for name, content in WHOLE.items()}
    beside = {
        "._shop": APPLE_DOUBLE,
        ".DS_Store": b"\0\0\0\1Bud1",
        f"{top}._dbt_project.yml": APPLE_DOUBLE,
        f"{top}models/._a.sql": APPLE_DOUBLE + b"\xff",
        f"{top}models/.DS_Store": b"\0\0\0\1Bud1",
        "__MACOSX/._a.sql": APPLE_DOUBLE,
    }
    assert unpack(tmp_path, pack_files(beside | files)) == WHOLE


def test_a_file_of_ones_own_may_be_called_like_those_of_macos(tmp_path: Path) -> None:
    files = WHOLE | {"models/._b.sql": b"select 2", "models/._": b""}
    assert unpack(tmp_path, pack_files(files)) == files


@pytest.mark.parametrize("top", ["", "shop\\"])
def test_folders_of_windows_are_folders(tmp_path: Path, top: str) -> None:
    files = {top + name.replace("/", "\\"): content for name, content in WHOLE.items()}
    assert unpack(tmp_path, pack_files(files)) == WHOLE


def test_a_backslash_is_a_letter_where_folders_are_told_otherwise(tmp_path: Path) -> None:
    files = WHOLE | {"models/a\\b.sql": b"select 2"}
    assert unpack(tmp_path, pack_files(files)) == files


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize(
    "name",
    [
        "caf\u00e9.sql",
        "cafe\u0301.sql",
        "my\u00a0own model.sql",
        "\u65e5\u672c\u3000.sql",
        "-rf.sql",
        "$(x);'\".sql",
        "n" * 251 + ".sql",
        "\u00e9" * 125 + ".sql",
    ],
    ids=["NFC", "NFD", "spaces", "Japanese", "dash", "shell", "long", "long in bytes"],
)
def test_names_are_kept_as_they_are(tmp_path: Path, name: str, kind: int) -> None:
    files = WHOLE | {f"models/{name}": b"select 2"}
    assert unpack(tmp_path, pack_files(files, kind)) == files


def test_of_several_members_of_a_name_the_last_counts(tmp_path: Path) -> None:
    """The other name of the first one keeps what that was, as for tar."""
    again = [
        link("models/b.sql", "models/a.sql", tarfile.LNKTYPE),
        plain("./models/a.sql", b"select 2"),
        link("models/c.sql", "models/b.sql", tarfile.LNKTYPE),
    ]
    assert unpack(tmp_path, pack(*whole(), *again)) == {
        PROJECT: b"name: shop",
        "models/a.sql": b"select 2",
        "models/b.sql": b"select 1",
        "models/c.sql": b"select 1",
    }


def test_nobody_may_run_a_file_that_was_packed_on_windows(tmp_path: Path) -> None:
    members = [plain(PROJECT, b"", 0), plain("run.sh", b"", 0o700), plain("a.sql", b"", 0o777)]
    unpack(tmp_path, pack(*members))
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("shared/project/*")}
    assert modes == {PROJECT: 0o664, "run.sh": 0o775, "a.sql": 0o775}


def test_links_within_the_project_lead_to_where_they_led(tmp_path: Path) -> None:
    links = [
        link("shop/models/staging", "../shared/staging"),
        link("shop/packages", "models/staging"),
        link("shop/models/gone.sql", "nowhere.sql"),
        link("shop/loop", "loop"),
    ]
    files = [plain(f"shop/{PROJECT}", b""), plain("shop/shared/staging/a.sql", b"select 1")]
    assert unpack(tmp_path, pack(*links, *files)).keys() >= {PROJECT, "shared/staging/a.sql"}
    project = tmp_path / "shared/project"
    assert (project / "packages/a.sql").read_bytes() == b"select 1"
    assert (project / "models/gone.sql").readlink() == Path("nowhere.sql")


OUTSIDE = "is a link to .* not inside the project: pack the file itself"


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([link("a", "/etc")], OUTSIDE),
        ([link("a", "..")], OUTSIDE),
        ([link("models/a", "../../x")], OUTSIDE),
        ([link("a", "sub/.."), link("sub", ".")], OUTSIDE),
        ([link("x", "y/.."), link("y", "."), link("x/evil", "z")], OUTSIDE),
        ([link("a", "models"), plain("a/evil", b"")], "a file and a folder of the same name"),
        ([link("a", "/etc/passwd", tarfile.LNKTYPE)], "no file of the archive: pack both"),
        ([link("a", "../x", tarfile.LNKTYPE)], "no file of the archive: pack both"),
        ([link("a", "a", tarfile.LNKTYPE)], "no file of the archive: pack both"),
        ([link("s", "models"), link("a", "s", tarfile.LNKTYPE)], "no file of the archive"),
        ([link("a", "", tarfile.FIFOTYPE)], "no plain file: leave it out"),
        ([link("a", "", tarfile.CHRTYPE)], "no plain file: leave it out"),
        ([plain("..\\evil", b"")], "inside the project"),
    ],
)
def test_nothing_leads_out(
    tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]], words: str
) -> None:
    project = [plain(PROJECT, b"")]
    with pytest.raises(PrepareError, match=rf"project\.tgz .* is refused: .*{words}"):
        unpack(tmp_path, pack(*project, *members))
    assert {path.name for path in tmp_path.iterdir()} == {"source", "shared"}
    assert {path.name for path in (tmp_path / "shared").iterdir()} == {"project"}


def test_other_names_of_a_file_count_as_files_of_its_size(tmp_path: Path) -> None:
    large = plain("a", b"\0" * (1 << 24))
    others = [link(f"l{number}", "a", tarfile.LNKTYPE) for number in range(32)]
    with pytest.raises(PrepareError, match="more than"):
        unpack(tmp_path, pack(plain(PROJECT, b""), large, *others))
    assert not (tmp_path / "shared/project/a").exists()


def test_a_project_beside_something_else_is_told_of(tmp_path: Path) -> None:
    files = {"README.md": b"", "shop/models/a.sql": b"", "shop/dbt_project.yml": b""}
    with pytest.raises(PrepareError, match=r"holds shop/dbt_project\.yml, .* folder shop alone"):
        unpack(tmp_path, pack_files(files))
