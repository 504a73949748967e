"""Files as people have them: what dbt takes is taken, and what it cannot read is named."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from dbt_runner.worker.unreadable import name_unreadable_file
from dbt_runner.worker_messages import DbtEnd
from tests.support.dbt_projects import SHOP
from tests.support.pods import BIN, PROJECT, Pod, profile, step

LATIN = "select 1 as id -- cafés\n".encode("cp1252")
AT_E = "the byte 0xe9 at line 1, column 22 would be 'é' in Windows-1252; save it as UTF-8"
NO_TEXT = b"caf\xe9"
BOM = b"\xef\xbb\xbf"


def write(folder: Path, files: Mapping[str | bytes, bytes | Path]) -> None:
    """Files by their names; a path stands for a link to it."""
    for name, content in files.items():
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if isinstance(content, Path):
            path.symlink_to(content)
        else:
            path.write_bytes(content)


def make_pod(folder: Path, files: Mapping[str | bytes, bytes | Path]) -> Pod:
    pod = Pod(folder / "pod", {"models/orders.sql": "select 1 as id"})
    write(pod.layout.project, files)
    return pod


UNREADABLE: list[tuple[dict[str | bytes, bytes | Path], str]] = [
    ({"models/customers.sql": LATIN}, f"models/customers.sql is no UTF-8: {AT_E}"),
    ({"models/a.sql": "select 1".encode("utf-16")}, "models/a.sql is UTF-16, as Windows Power"),
    ({"models/schema.yml": LATIN}, "models/schema.yml is no UTF-8"),
    ({"macros/deep/a.sql": b"{# ok #}\n{# \x81 #}"}, "byte 0x81 at line 2, column 4 is none of"),
    ({"seeds/cities.csv": b"id,city\n1,Orl\xe9ans\n"}, "seeds/cities.csv is no UTF-8: "),
    ({"models/docs.md": LATIN}, "models/docs.md is no UTF-8: "),
    ({"dbt_project.yml": PROJECT.encode("utf-16")}, "dbt_project.yml is UTF-16"),
    ({"packages.yml": "packages: []".encode("utf-16")}, "packages.yml is UTF-16"),
    ({"selectors.yml": LATIN}, "selectors.yml is no UTF-8: "),
    ({"models/gone.sql": Path("/no/where.sql")}, "models/gone.sql is a link to /no/where.sql, "),
    ({"models/loop.sql": Path("loop.sql")}, "models/loop.sql is a link to loop.sql, "),
    ({"packages.yml/x": b""}, "packages.yml is a folder, and dbt looks for a file"),
    ({b"models/" + NO_TEXT + b".sql": b"select 1"}, "models/caf\ufffd.sql has a name that is no"),
]


@pytest.mark.dbt
@pytest.mark.parametrize(
    ("files", "words"), UNREADABLE, ids=[words.split()[0] for _, words in UNREADABLE]
)
def test_a_file_that_dbt_cannot_read_is_named(
    tmp_path: Path, files: dict[str | bytes, bytes | Path], words: str
) -> None:
    ended = make_pod(tmp_path, files).run(step("build"), deps="IfMissing")
    assert (ended.summary.reason, ended.code) == ("ParseError", 2), ended.log
    assert words in ended.summary.message


@pytest.mark.dbt
def test_what_is_wrong_with_packages_is_no_failure_of_dbt_deps(tmp_path: Path) -> None:
    """Which would be tried again."""
    pod = make_pod(tmp_path, {"packages.yml": "packages: []".encode("utf-16")})
    ended = pod.run(step("build"), deps="Always")
    assert ended.summary.reason == "ParseError"
    assert "packages.yml is UTF-16" in ended.summary.message


@pytest.mark.dbt
@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_a_profile_that_dbt_cannot_read_is_named(tmp_path: Path, encoding: str) -> None:
    pod = make_pod(tmp_path, {})
    text = f"{profile(pod.database)}# é\n"
    (pod.layout.profiles / "profiles.yml").write_bytes(text.encode(encoding))
    ended = pod.run(step("build"))
    assert (ended.summary.reason, ended.code) == ("ConfigError", 2), ended.log
    assert "profiles.yml is " in ended.summary.message
    assert "save it as UTF-8" in ended.summary.message


@pytest.mark.dbt
def test_a_large_seed_that_dbt_cannot_read_is_named(tmp_path: Path) -> None:
    """It is read when it is loaded, in parts."""
    rows = b"1,Paris\n" * (1 << 17) + b"2,Orl\xe9ans\n"
    ended = make_pod(tmp_path, {"seeds/cities.csv": b"id,city\n" + rows}).run(step("build"))
    assert ended.summary.reason == "ModelError", ended.log
    assert "seeds/cities.csv is no UTF-8: the byte 0xe9 at line 131074" in ended.summary.message


@pytest.mark.one_dbt
@pytest.mark.parametrize(
    ("name", "reason"), [("models/customers.sql", "ParseError"), ("profiles.yml", "ConfigError")]
)
def test_a_file_is_named_where_dbt_is_a_program(tmp_path: Path, name: str, reason: str) -> None:
    pod = make_pod(tmp_path, {})
    text = (profile(pod.database) if name == "profiles.yml" else "select 1") + "# é"
    folder = pod.layout.profiles if name == "profiles.yml" else pod.layout.project
    (folder / name).write_bytes(text.encode("cp1252"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/dbt").write_text(f'#!/bin/sh\nexec {BIN}/dbt "$@"\n')
    (tmp_path / "bin/dbt").chmod(0o755)
    pod.env["PATH"] = f"{tmp_path / 'bin'}:/usr/bin:/bin"
    ended = pod.run(step("build"))
    assert (ended.summary.reason, ended.code) == (reason, 2), ended.log
    assert f"{name} is no UTF-8: the byte 0xe9 at line " in ended.summary.message


@pytest.mark.dbt
def test_what_dbt_takes_is_taken(tmp_path: Path) -> None:
    """Also what it never looks at."""
    files: dict[str | bytes, bytes | Path] = {
        "dbt_project.yml": BOM + PROJECT.replace("\n", "\r\n").encode(),
        "packages.yml": BOM + b"packages: []\r\n",
        "selectors.yml": BOM + b"selectors:\r\n- {name: all, definition: '*'}\r\n",
        "dependencies.yml": b"",
        ".dbtignore": b"*.bak.sql\r\n",
        "models/schema.yml": BOM + SHOP["models/schema.yml"].replace("\n", "\r\n").encode(),
        "models/marked.sql": BOM + b"select 1 as id\r\n",
        "models/caf\u00e9.sql": b"select 1 as id",
        "models/cafe\u0301s.sql": b"select 1 as id",
        "models/\u65e5\u672c.sql": b"select '\xe6\x97\xa5' as day",
        f"models/{'n' * 200}.sql": b"select 1 as id",
        f"models/{'n' * 251}.yml": b"",
        "models/with space/inner.sql": b"select 1 as id",
        "models/folder.sql/in_folder.sql": b"select 1 as id",
        "models/folder.yml/schema.yml": b"models: [{name: in_folder}]",
        "macros/empty.sql": b"",
        "models/empty.sql": b"",
        "seeds/raw_orders.csv": BOM + b"id,loaded_at\r\n1,2024-01-01 00:00:00\r\n",
        "ci/gone.yml": Path("/no/where.yml"),
        "ci/loop.yml": Path("loop.yml"),
        "ci/folder.yml/x": b"",
        b"ci/" + NO_TEXT + b".yml": LATIN,
        ".DS_Store": b"\0\xff",
        "models/.DS_Store": b"\0\xff",
        "._dbt_project.yml": b"\0\5\x16\7\xff",
    }
    pod = Pod(tmp_path / "pod", {name: text for name, text in SHOP.items() if "macros" not in name})
    write(pod.layout.project, files)
    pod.layout.new_cache.mkdir()
    ended = pod.run(step("build"), deps="IfMissing", cached=True)
    assert (ended.summary.reason, ended.code) == ("", 0), ended.log
    built = ended.step("build")["nodes"]
    assert (built["total"], built["success"], built["passed"]) == (15, 11, 3)
    assert list(pod.layout.new_cache.iterdir())


def test_an_error_that_no_file_has_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warehouse's client may fail to decode what it is told, beside files that dbt ignores."""
    write(tmp_path, {"notes/old.sql": LATIN, "gone.yml": Path("nowhere")})
    monkeypatch.chdir(tmp_path)
    for message in (
        "'utf-8' codec can't decode byte 0xe9 in position 3: invalid continuation byte",
        "[Errno 2] No such file or directory: '/tmp/other'",
        "surrogates not allowed",
    ):
        end = DbtEnd(message=message, exit_code=2, exception=["ValueError"])
        assert name_unreadable_file(end) == end
