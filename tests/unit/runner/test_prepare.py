"""The init container."""

from __future__ import annotations

import io
import stat
import tarfile
from pathlib import Path

import pytest

from dbt_runner import prepare
from dbt_runner.layout import Layout
from dbt_runner.protocol import PreparePlan, Summary


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    for folder in ("opt", "dev", "dbt-operator", "dbt-operator-source"):
        (tmp_path / folder).mkdir()
    (tmp_path / "opt/runner.pyz").write_bytes(b"PK runner")
    return Layout(str(tmp_path))


def config_map(layout: Layout, **files: str | bytes) -> None:
    """Files as the kubelet mounts them: links into a folder of which it keeps several versions."""
    data = layout.source / "..2024_01_01"
    data.mkdir()
    (layout.source / "..data").symlink_to(data.name)
    for name, content in files.items():
        (data / name).write_bytes(content.encode() if isinstance(content, str) else content)
        (layout.source / name).symlink_to(f"..data/{name}")


def archive(**files: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def project(layout: Layout) -> dict[str, str]:
    files = (path for path in layout.project.rglob("*") if path.is_file())
    return {str(path.relative_to(layout.project)): path.read_text() for path in files}


def run(layout: Layout, source: str = "configMap") -> tuple[int, Summary]:
    code = prepare.main(layout, PreparePlan(source), {})
    return code, Summary.from_json((Path(layout.root) / "dev/termination-log").read_text())


def test_the_runner_and_the_folders_are_made(layout: Layout) -> None:
    assert run(layout, "image") == (0, Summary())
    assert layout.runner.read_bytes() == b"PK runner"
    for folder in (layout.work, layout.artifacts):
        assert folder.stat().st_mode & stat.S_IWGRP
    assert not layout.project.exists()


def test_keys_are_files_of_the_project(layout: Layout) -> None:
    config_map(layout, **{"dbt_project.yml": "name: shop", "orders.sql": "select 1"})
    assert run(layout)[0] == 0
    assert project(layout) == {"dbt_project.yml": "name: shop", "orders.sql": "select 1"}
    assert not any(path.is_symlink() for path in layout.project.rglob("*"))


def test_keys_that_are_mapped_to_paths_keep_them(layout: Layout) -> None:
    config_map(layout, **{"dbt_project.yml": "name: shop"})
    (layout.source / "..data/models").mkdir()
    (layout.source / "..data/models/orders.sql").write_text("select 1")
    (layout.source / "models").symlink_to("..data/models")
    assert run(layout)[0] == 0
    assert project(layout) == {"dbt_project.yml": "name: shop", "models/orders.sql": "select 1"}


@pytest.mark.parametrize("key", ["project.tgz", "project.tar.gz"])
@pytest.mark.parametrize("top", ["", "./", "shop/"])
def test_an_archive_is_unpacked_from_where_the_project_is(layout: Layout, key: str, top: str) -> None:
    config_map(layout, **{key: archive(**{f"{top}dbt_project.yml": "name: shop", f"{top}models/a.sql": "select 1"})})
    assert run(layout)[0] == 0
    assert project(layout) == {"dbt_project.yml": "name: shop", "models/a.sql": "select 1"}


def test_a_folder_is_kept_when_the_project_is_not_in_it(layout: Layout) -> None:
    config_map(layout, **{"dbt_project.yml": "name: shop", "models.tgz": archive(**{"models/a.sql": "select 1"})})
    assert run(layout)[0] == 0
    assert project(layout) == {"dbt_project.yml": "name: shop", "models/a.sql": "select 1"}


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "models/../../evil"])
def test_paths_outside_of_the_project_are_refused(layout: Layout, name: str) -> None:
    config_map(layout, **{"project.tgz": archive(**{"dbt_project.yml": "name: shop", name: "boo"})})
    code, summary = run(layout)
    if code:  # an absolute path is taken as one below the project, which is harmless as well
        assert (summary.reason, summary.exit_code) == ("ConfigError", 2)
        assert "project.tgz" in summary.message
    assert not list(Path(layout.root).glob("evil"))
    assert not (layout.shared / "evil").exists()
    assert not Path("/etc/evil").exists()
    assert code == 2 or name.startswith("/")


@pytest.mark.parametrize("content", [b"no archive", archive(**{"dbt_project.yml": "name: shop" * 999})[:-30]])
def test_a_broken_archive_is_named(layout: Layout, content: bytes) -> None:
    config_map(layout, **{"project.tgz": content})
    code, summary = run(layout)
    assert (code, summary.reason) == (2, "ConfigError")
    assert "project.tgz" in summary.message


def test_a_missing_project_file_is_named_with_what_there_is(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    config_map(layout, **{"orders.sql": "select 1"})
    code, summary = run(layout)
    assert (code, summary.reason) == (2, "ConfigError")
    assert "dbt_project.yml" in summary.message
    assert "orders.sql" in summary.message
    assert summary.message in capsys.readouterr().out


def test_an_unknown_source_is_refused(layout: Layout) -> None:
    assert run(layout, "ftp")[1].reason == "ConfigError"
